"""When and how often the faults of a day happen, and on what they happen."""

from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Final

STEP: Final = 5.0  # seconds of a step within a burst
CLOCKS: Final = (0, 0, 0, 600, -600)  # seconds by which a Redis is ahead of the manager (F31)
# Seconds by which the hosts of the manager are ahead of the database (F80).
HOSTS: Final = ((0,), (0,), (0,), (0, 600, -600), (0, 600))
FLEETS: Final = (1, 1, 1, 1, 2, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """What a day consists of. The defaults are a day of one fleet whose clocks agree."""

    bursts: int = 1
    fault_rate: float = 1.0  # how many times likelier than usual each fault is
    step: float = STEP  # seconds of a step within a burst
    ahead: timedelta = timedelta(0)  # the clock of Redis minus the manager's
    hosts: tuple[int, ...] = (0,)
    fleets: int = 1
    servers: int = 1  # Redis servers: each further fleet has its backlog on the second one
    dataset: bool = False  # one more fleet works on the rows of files
    adopts: bool = False  # accounts give machines that they find a row, and do not destroy them
    goals: bool = False  # in some hours fleets have a goal
    goal_faults: bool = False  # also in these hours

    @classmethod
    def drawn(cls, random: Random) -> "FaultPlan":
        """The plan that these draws give."""
        fleets = random.choice(FLEETS)
        return cls(
            bursts=random.choice((1, 1, 1, 1, 2, 3)),
            fault_rate=random.choice((1.5, 3.0, 6.0)),
            step=random.choice((STEP, STEP, 2 * STEP, 4 * STEP)),
            ahead=timedelta(seconds=random.choice(CLOCKS)),
            hosts=random.choice(HOSTS),
            fleets=fleets,
            servers=random.choice((1, 2)) if fleets > 1 else 1,
            adopts=random.random() < 0.3,
            dataset=random.random() < 0.3,
            goals=random.random() > 0.7,
            goal_faults=random.random() < 0.4,
        )

    @property
    def clocks_differ_by(self) -> timedelta:
        """How far apart the clocks of two hosts of the manager are at most."""
        return timedelta(seconds=max(self.hosts) - min(self.hosts))
