"""S20: whether what a fleet said of its deadline held, and whether its budget was kept. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from fleet.decision.goal_facts import GONE_WITHIN
from fleet.decision.values import PodFacts
from pods.states import STOPPED
from tests.simulation.limits import Violated

PACE: Final = 15.0  # seconds of a step: that of a tick
UNSEEN: Final = timedelta(minutes=2)  # without a tick nothing was promised


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one tick said of the deadline."""

    at: datetime
    risk: str = ""  # "": it promised the deadline
    known: bool = True  # it could read the backlog
    stuck: bool = False  # a pod on its way out keeps its place for longer than a promise counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A deadline, what the ticks said of it, and what came of it."""

    set_at: datetime
    by: datetime
    done_at: datetime | None
    said: Sequence[Said]  # the oldest first, until it was over or done
    faults: bool = False  # some happened meanwhile
    late_fault: bool = False  # one happened too late to be made up for

    @property
    def kept(self) -> bool:
        """Whether all was done in time; what is done is seen a step later."""
        return self.done_at is not None and self.done_at <= self.by + timedelta(seconds=PACE)


def is_stuck(pod: PodFacts) -> bool:
    """Whether a pod on its way out has not been proved gone within the time that a promise counts."""
    leaves = not pod.active and pod.state is not STOPPED
    return leaves and pod.leaving_for is not None and pod.leaving_for > GONE_WITHIN


def verdict(aim: Deadline) -> str:
    """What became of a deadline.

    Raises:
        Violated: it was promised at every tick and missed; or there was no fault, and a promise was
            withdrawn or broken.
    """
    why = not_promised(aim)
    if why and not aim.faults:
        _check_that_promises_last(aim)
    if not why and not aim.kept:
        if not aim.late_fault:
            raise Violated(
                f"the deadline {aim.by:%H:%M:%S} was promised at each of {len(aim.said)} ticks, and "
                f"all was done at {aim.done_at}"
            )
        why = "a fault in the last minutes"
    return f"deadline, {'kept' if aim.kept else 'missed'}, {'not promised' if why else 'promised'}"


def not_promised(aim: Deadline) -> str:
    """Why the deadline was not promised at every moment; "": it was."""
    for tick in aim.said:
        if not tick.known:
            return f"unknown: the backlog at {tick.at:%H:%M:%S}"
        if tick.risk:
            return f"risk: at {tick.at:%H:%M:%S} {tick.risk}"
    return _unseen(aim)


def _unseen(aim: Deadline) -> str:
    moments = [aim.set_at, *(t.at for t in aim.said), min(aim.by, aim.done_at or aim.by)]
    for before, after in pairwise(moments):
        if after - before > UNSEEN:
            return f"no tick: for {after - before} after {before:%H:%M:%S}"
    return ""


def _check_that_promises_last(aim: Deadline) -> None:
    """Check that no tick takes back what one before it promised, and that the promise is kept.

    A pod that is stuck on its way out is excluded: a fault before these hours did that, and no plan
    knows when its place is free. Neither is anything promised while no tick comes.
    """
    if _unseen(aim):
        return
    promised: Said | None = None
    for tick in aim.said:
        if tick.stuck:
            promised = None
        elif tick.known and not tick.risk:
            promised = promised or tick
        elif promised:
            raise Violated(
                f"without any fault: what was promised at {promised.at:%H:%M:%S} was taken back at "
                f"{tick.at:%H:%M:%S}: {tick.risk or 'the backlog is unknown'}"
            )
    if promised and not aim.kept:
        raise Violated(
            f"without any fault: the deadline {aim.by:%H:%M:%S}, promised since "
            f"{promised.at:%H:%M:%S}, was missed: {aim.done_at}"
        )


def check_budget(
    budget_usd: Decimal,
    *,
    spent_usd: Decimal,
    billed_usd: Decimal,
    allowed: Decimal,
    unseen: Decimal,
) -> None:
    """Check what was spent since a budget was set, by the ledger and by the bill.

    `allowed`: USD which no tick could stop, because of faults; `unseen`: USD of the ends of pods,
    which only the bill has.

    Raises:
        Violated: it was overspent.
    """  # fmt: skip
    if spent_usd > budget_usd + allowed or billed_usd > budget_usd + allowed + unseen:
        raise Violated(f"${spent_usd:.5f} of ${budget_usd} is spent, ${billed_usd:.5f} billed")
