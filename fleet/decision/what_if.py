"""Replays recorded ticks with other settings and a model of pods: what would have been. Pure.

The model knows how long boots took, how fast pods were, what was offered at which price, how many
items came, and when interruptible pods were taken away. It supposes that as many pods as wanted could
be had on the offers of that time, at their prices, and that no pod fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from fleet.decision.arrivals import Arrivals
from fleet.decision.decide import decide
from fleet.decision.model_pods import Market, ModelPods, lost_between
from fleet.decision.values import Decision, Policy, Rule, Snapshot
from pods.plural import plural
from pods.price import cost_usd
from pods.states import READY

HOUR: Final = timedelta(hours=1)
# A longer gap between two recorded ticks is cut into so many steps, each with the facts before it.
MOST_STEPS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One recorded tick."""

    seen: Snapshot
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A fleet at one moment of a course."""

    at: datetime
    depth: int | None  # items; None: unknown
    pods: int  # that may bill
    ready: int
    hourly_usd: Decimal
    spent_usd: Decimal  # since the beginning of the course
    binding: Rule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What became of a fleet, or would have become of it."""

    moments: Sequence[Moment]
    pod_hours: float
    done_at: datetime | None  # when its backlog was empty and stayed so; None: it was not

    @property
    def most_pods(self) -> int:
        """The most pods that billed at once."""
        return max(moment.pods for moment in self.moments)

    @property
    def spent_usd(self) -> Decimal:
        """What its pods cost from the beginning to the end."""
        return self.moments[-1].spent_usd

    @property
    def left(self) -> int | None:
        """Items at the end; None: unknown."""
        return self.moments[-1].depth


class TooLittle(ValueError):
    """The recorded ticks do not say enough for a model."""


def as_recorded(ticks: Sequence[Recorded]) -> Course:
    """The course that the ticks recorded.

    Raises:
        TooLittle: there are fewer than two.
    """
    _check(ticks)
    moments, spent, hours = [], Decimal(0), 0.0
    before: Snapshot | None = None
    for tick in ticks:
        seen = tick.seen
        if before is not None:
            gap = seen.now - before.now
            spent += cost_usd(before.hourly_usd, gap)
            hours += before.billable * (gap / HOUR)
        ready = sum(p.state is READY for p in seen.pods)
        moments.append(
            Moment(
                at=seen.now, depth=seen.depth, pods=seen.billable, ready=ready,
                hourly_usd=seen.hourly_usd, spent_usd=spent,
            )
        )  # fmt: skip
        before = seen
    return Course(moments=moments, pod_hours=hours, done_at=_done_at(moments))


def replay(
    ticks: Sequence[Recorded], change: Callable[[Policy], Policy] = lambda policy: policy
) -> Course:
    """The course with the settings of then, changed by `change`, decided by the production rules.

    Raises:
        TooLittle: there are fewer than two ticks, no pod showed its speed, or no depth is known.
    """
    _check(ticks)
    market = Market.of([tick.seen for tick in ticks])
    if market.rate is None:
        raise TooLittle("no pod showed its speed in this time; take a longer time")
    first = ticks[0].seen
    came, world = Arrivals(known=first.depth), ModelPods(first, market)
    moments: list[Moment] = []
    for before, after in pairwise(ticks):
        items = came.between(before.seen, after.seen)
        moments += [moment for moment, _ in pass_gap(world, before, after, items, change)]
    last = ticks[-1]
    moments.append(decide_once(world, last.seen, last.seen.now, change(last.policy))[0])
    return Course(moments=moments, pod_hours=world.pod_hours, done_at=_done_at(moments))


def pass_gap(
    world: ModelPods,
    before: Recorded,
    after: Recorded,
    came: float,
    change: Callable[[Policy], Policy],
    *,
    decided: bool = False,
) -> list[tuple[Moment, Decision]]:
    """Decide at a tick, and let the time until the next one pass, in which so many items came.

    `decided`: the decision at the tick itself was made before.
    """
    gap = after.seen.now - before.seen.now
    policy = change(before.policy)
    steps = min(MOST_STEPS, max(1, round(gap / policy.tick)))
    found = []
    for n in range(steps):
        if n or not decided:
            at = before.seen.now + n * gap / steps
            found.append(decide_once(world, before.seen, at, policy))
        world.work(gap / steps, arriving=came / steps)
    world.lose(lost_between(before.seen, after.seen))
    return found


def decide_once(
    world: ModelPods, then: Snapshot, now: datetime, policy: Policy
) -> tuple[Moment, Decision]:
    """Decide for the pods of the model, and let them obey."""
    seen = world.snapshot(then, now, policy)
    decision = decide(seen, policy)
    moment = Moment(
        at=now, depth=seen.depth, pods=seen.billable,
        ready=sum(p.state is READY for p in seen.pods), hourly_usd=seen.hourly_usd,
        spent_usd=world.spent_usd, binding=decision.binding,
    )  # fmt: skip
    world.obey(decision, policy)
    return moment, decision


def _check(ticks: Sequence[Recorded]) -> None:
    if len(ticks) < 2:
        raise TooLittle(f"only {plural(len(ticks), 'decision')} recorded; take a longer time")
    if all(tick.seen.depth is None for tick in ticks):
        raise TooLittle("the backlog was unknown for the whole time; take another one")


def _done_at(moments: Sequence[Moment]) -> datetime | None:
    """The first moment of the last empty time, if that lasts until the end and something was there."""
    done: datetime | None = None
    for moment in reversed(moments):
        if moment.depth is None:
            continue
        if moment.depth:
            return done
        done = moment.at
    return None
