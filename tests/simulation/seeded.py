"""Runs the day of a seed, and says how it went."""

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Pod
from tests.simulation.databases import CleanDatabase
from tests.simulation.day import Day
from tests.simulation.draws import Draws
from tests.simulation.limits import Violated
from tests.simulation.plan import FaultPlan
from tests.simulation.worker import TaskFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """The result of a day."""

    seed: int
    faults: int
    fault_numbers: int  # with the faults that were left out
    hours: float
    pods: int
    fingerprint: str  # the hash of the history: the same seed gives the same one
    violation: str = ""
    goals: tuple[str, ...] = ()  # what became of each


def run_day(
    url: str, seed: int, database: CleanDatabase, *, left_out: Collection[int] = ()
) -> DayResult:
    """Run the day of a seed without the faults of `left_out`; a violation has the end of the history.

    `url`: of a Redis, which is emptied; `database` is emptied too.
    """
    database.restore()
    time = SteppedClock()
    with clock.use(time):
        draws, plan = Draws(seed, left_out=left_out), FaultPlan.drawn(Random(seed))
        day = Day(draws, time, url, plan)
    violation, started = "", time()
    with day.patched():
        day.prepare()
        try:
            day.run()
        except (Violated, TaskFailed, AssertionError) as exc:
            violation = "\n".join([f"seed {seed}: {exc}", f"{plan}", *day.draws.history[-60:]])
        pods = Pod.objects.count()
    history = "\n".join(day.draws.history).encode(errors="surrogatepass")
    return DayResult(
        seed=seed,
        faults=day.draws.faults,
        fault_numbers=day.draws.fault_numbers,
        hours=(time() - started).total_seconds() / 3600,
        pods=pods,
        goals=tuple(day.goals),
        fingerprint=sha256(history).hexdigest(),
        violation=violation.encode(errors="backslashreplace").decode(),
    )
