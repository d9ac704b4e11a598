"""The faults of a dataset: each breaks one thing and returns its kind; None: nothing to break."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.chaos.dataset_system import Agent, DatasetSystem
from tests.support.store_proxy import Goes, Moment
from tests.support.waiting import until

MOMENT_SECONDS: Final = 8.0  # an agent comes to each moment within this time
FROZEN_SECONDS: Final = 7.0  # longer than the time after which others claim
AWAY_SECONDS: Final = (0.5, 3.0)
Fault = Callable[[DatasetSystem], str | None]


def at(moment: Moment, what: str, *, act: Callable[[DatasetSystem, Agent], Goes]) -> Fault:
    """Return a fault that happens at a moment of an agent's next request: it is no guess."""

    def fault(system: DatasetSystem) -> str | None:
        agent = system.any_agent()
        if agent is None:
            return None
        before = agent.store.happened
        agent.store.at_next(moment, lambda: act(system, agent))
        over = time.monotonic() + MOMENT_SECONDS
        while agent.store.happened == before and agent.lives and time.monotonic() < over:
            time.sleep(0.02)
        agent.store.disarm()
        return what if agent.store.happened > before else None

    return fault


def _kill(_: DatasetSystem, agent: Agent) -> Goes:
    agent.signal(signal.SIGKILL)
    return Goes.LOST


def _freeze(system: DatasetSystem, agent: Agent) -> Goes:
    agent.signal(signal.SIGSTOP)
    system.frozen.append(agent)
    return Goes.ON  # the answer waits in the agent's socket


def _lose(_: DatasetSystem, __: Agent) -> Goes:
    return Goes.LOST


def _halve(_: DatasetSystem, __: Agent) -> Goes:
    return Goes.HALF


def frozen(fault: Fault) -> Fault:
    """The same, and let the agent go on after others have claimed its ranges."""

    def freeze(system: DatasetSystem) -> str | None:
        kind = fault(system)
        if kind:
            time.sleep(FROZEN_SECONDS)
            system.thaw()
        return kind

    return freeze


def killed(system: DatasetSystem) -> str | None:
    """Kill an agent at any moment."""
    if agent := system.any_agent():
        agent.kill()
        return "killed"
    return None


def drained(system: DatasetSystem) -> str | None:
    """Ask an agent to end."""
    if agent := system.any_agent():
        system.drain(agent)
        return "drained"
    return None


def terminated(system: DatasetSystem) -> str | None:
    """Send SIGTERM, as a vendor does."""
    if agent := system.any_agent():
        agent.process.send_signal(signal.SIGTERM)
        return "sent SIGTERM"
    return None


def refused(system: DatasetSystem) -> str | None:
    """Let the store answer 503 to all agents: a few times, or for so long that retries end."""
    requests = system.random.choice([2, 8, 40])
    for agent in system.agents:
        agent.store.refuse(requests)
    time.sleep(3)
    return f"503 for {requests} requests"


def killed_store(system: DatasetSystem) -> str:
    """Kill the store, and start it again with what it has stored."""
    system.store.kill()
    time.sleep(system.random.choice(AWAY_SECONDS))
    system.store.start()
    return "killed the store"


def killed_redis(system: DatasetSystem) -> str:
    """Kill Redis; it reads its file again."""
    system.server.kill()
    time.sleep(system.random.choice(AWAY_SECONDS))
    system.server.start()
    return "killed Redis"


def lost_answers_of_redis(system: DatasetSystem) -> str:
    """Let Redis do what is asked, and lose the answers."""
    system.redis_proxy.drop_answers(system.random.randint(1, 12))
    time.sleep(1)
    system.redis_proxy.restore()
    return "lost answers of Redis"


def emptied_redis(system: DatasetSystem) -> str:
    """Empty Redis, and run `fleet feed` again."""
    system.server.client.flushall()
    time.sleep(system.random.choice((0.0, 2.0)))
    system.feed()
    return "emptied Redis"


def fed(system: DatasetSystem) -> str:
    """Run `fleet feed` with more files, while agents work."""
    system.add_files()
    system.feed()
    return "fed more"


FAULTS: Final[dict[str, tuple[int, Fault]]] = {
    "kill between put and commit": (
        4, at(Moment.PART_ANSWERED, "killed between put and commit", act=_kill)),
    "kill between errors and part": (
        2, at(Moment.ERRORS_ANSWERED, "killed between errors and part", act=_kill)),
    "kill while a part is put": (2, at(Moment.PART_ASKED, "killed while a part was put", act=_kill)),
    "kill while rows are read": (
        2, at(Moment.INPUT_ASKED, "killed while rows were read", act=_kill)),
    "freeze between put and commit": (
        3, frozen(at(Moment.PART_ANSWERED, "frozen between put and commit", act=_freeze))),
    "freeze before a put": (2, frozen(at(Moment.PART_ASKED, "frozen before a put", act=_freeze))),
    "freeze while rows are read": (
        1, frozen(at(Moment.INPUT_ANSWERED, "frozen while rows were read", act=_freeze))),
    "lose the answer of a put": (3, at(Moment.PART_ANSWERED, "lost the answer of a put", act=_lose)),
    "lose the answer of the errors": (
        1, at(Moment.ERRORS_ANSWERED, "lost the answer of the errors", act=_lose)),
    "cut off a read": (2, at(Moment.INPUT_ANSWERED, "cut off a read", act=_halve)),
    "kill at any moment": (3, killed),
    "drain": (3, drained),
    "send SIGTERM": (2, terminated),
    "refuse": (2, refused),
    "kill the store": (1, killed_store),
    "kill Redis": (1, killed_redis),
    "lose answers of Redis": (2, lost_answers_of_redis),
    "empty Redis": (2, emptied_redis),
    "feed more": (1, fed),
}  # fmt: skip


class DatasetFaults:
    """All faults in a random order, each as often as its weight; then all of them again."""

    def __init__(self, system: DatasetSystem) -> None:
        self._system = system
        self._left: list[str] = []
        self.caused: Counter[str] = Counter()

    def cause_next(self) -> None:
        """Cause the next fault. Where there is nothing to break it is not counted."""
        if not self._left:
            self._left = [name for name, (weight, _) in FAULTS.items() for _ in range(weight)]
            self._system.random.shuffle(self._left)
        name = self._left.pop()
        if FAULTS[name][1](self._system):
            self.caused[name] += 1

    def end(self) -> None:
        """Repair everything."""
        system = self._system
        system.redis_proxy.restore()
        for agent in system.agents:
            agent.store.disarm()
        system.thaw()
        until(system.server._answers)
