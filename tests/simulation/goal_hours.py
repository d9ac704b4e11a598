"""S20: hours of a day in which fleets have a goal, and interruptible offers come and go."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ValidationError

from fleet.decision.values import Goal
from fleet.models import Fleet, Tick
from fleet.money import spending
from fleet.tick.recording import replayed
from pods.base.clock import utcnow
from pods.emulators.runpod_state import Boot
from pods.models import Pod
from pods.states import TERMINATING
from tests.simulation import goal_judge
from tests.simulation.agents import ITEMS_PER_SECOND, Agents
from tests.simulation.bills import UNDER_COUNTED
from tests.simulation.goal_judge import PACE, Deadline, Said, is_stuck
from tests.simulation.limits import LONGEST_TICK, Violated, cost
from tests.simulation.range_agents import RangeAgents
from tests.simulation.vendors import RunPod, Vastai, Vendor

if TYPE_CHECKING:
    from tests.simulation.day import Day

PLACES: Final = 3  # of each fleet, as `prepare_end` allows
SPOT_USD: Final = Decimal("0.22")  # about what an interruptible pod costs an hour here
WORK: Final = (0.5, 0.8, 1.5)  # pod-hours
SLACKS: Final = (1.02, 1.3, 2.0)  # times the shortest time that the work needs
BUDGETS: Final = ("0.4", "1.1", "1.6", "3")  # times the price of the work on interruptible pods
BOOTS: Final = (15, 60, 180)  # seconds
# What a fleet without a pod needs at most until all its places work: the deadline of a boot, a drain,
# a ramp and two ticks of 15 s.
NET: Final = timedelta(seconds=300 + 20 + 2 * 15 + 2 * 15)
LONGEST: Final = timedelta(hours=3)
OUTBID: Final = 0.02  # how likely a rival bids for a host in a step
RIVALS_STAY: Final = (2, 10, 40)  # minutes
FAULT_RATE: Final = 0.25


@dataclass(slots=True, kw_only=True)
class Aim:
    """The goal of one fleet, and what has come of it."""

    agents: Agents
    goal: Goal
    set_at: datetime
    by: datetime | None = None
    budget_usd: Decimal | None = None
    spent_usd: Decimal = Decimal(0)  # when it was set, by the ledger
    billed_usd: Decimal = Decimal(0)  # when it was set, by the vendors
    done_at: datetime | None = None
    faults: int = 0  # until a net before the deadline
    verdict: str = ""

    @property
    def fleet(self) -> Fleet:
        """The fleet with this goal."""
        return self.agents.fleet


class GoalHours:
    """Gives the fleets of a settled day goals, and judges them."""

    def __init__(self, day: "Day", *, faults: bool) -> None:
        """`faults`: some happen meanwhile."""
        self._day, self._faults = day, faults
        self._draw = day.draws.random
        self._aims: list[Aim] = []
        self._refused: list[str] = []

    def run(self) -> list[str]:
        """Run until each goal is reached or missed; what became of each.

        Raises:
            Violated: S20 does not hold.
        """
        day = self._day
        self._set_boots()
        for agents in day.agents:
            if not isinstance(agents, RangeAgents):
                agents.move_away(far=False)
                self._set_goal(agents)
        day.pace, day.draws.fault_rate, day.draws.faults_on = PACE, FAULT_RATE, self._faults
        day.items_come = False
        end = utcnow() + LONGEST
        while utcnow() < end and not all(self._is_over(aim) for aim in self._aims):
            self._change_market()
            day.step()
            for aim in self._aims:
                self._check(aim)
        day.draws.faults_on, day.items_come = False, True
        for aim in self._aims:
            aim.verdict = aim.verdict or self._verdict(aim)
            day.draws.record(f"goal of {aim.fleet}: {aim.verdict}")
        return [aim.verdict for aim in self._aims] + self._refused

    def _set_boots(self) -> None:
        each = self._draw.choice(BOOTS) / 3
        for vendor in self._day.vendors:
            if isinstance(vendor, RunPod):
                vendor.state.boot = Boot(provisioning=each, starting=each, pulling=each)
            elif isinstance(vendor, Vastai):
                vendor.market.pace.loading = timedelta(seconds=3 * each)

    def _set_goal(self, agents: Agents) -> None:
        draw, goal = self._draw, self._draw.choice([Goal.DEADLINE, Goal.DEADLINE, Goal.BUDGET])
        hours = draw.choice(WORK)
        agents.add_items(max(0, int(hours * ITEMS_PER_SECOND * 3600) - agents.left))
        work = timedelta(seconds=agents.left / ITEMS_PER_SECOND)
        slack, times = draw.choice(SLACKS), Decimal(draw.choice(BUDGETS))
        aim = Aim(agents=agents, goal=goal, set_at=utcnow())
        changes: dict[str, str] = {"goal": goal.value}
        if goal is Goal.DEADLINE:
            aim.by = aim.set_at + work / PLACES * slack + NET + timedelta(minutes=2)
            changes["drain_by"] = aim.by.isoformat()
        else:
            aim.budget_usd = round(times * cost(SPOT_USD, work), 4)
            changes["budget_usd"] = str(aim.budget_usd)
        aim.spent_usd = self._spent(aim)
        aim.billed_usd = self._billed(aim)
        self._day.draws.record(f"{agents.fleet} gets {changes}, {agents.left} items")
        try:
            self._day.operators.set_goal(agents.fleet.pk, changes)
        except ValidationError as exc:  # with the speeds that it knows, it cannot be kept
            self._day.draws.record(f"refused: {exc}")
            self._refused.append(f"{goal}, refused")
        else:
            self._aims.append(aim)

    def _change_market(self) -> None:
        """Outbid some of the interruptible pods, and let their rivals leave again."""
        for vendor in self._day.vendors:
            if not isinstance(vendor, Vastai):
                continue
            for slot in vendor.market.slots:
                if self._draw.random() < OUTBID:
                    stays = timedelta(minutes=self._draw.choice(RIVALS_STAY))
                    vendor.market.rival_bids(slot, Decimal(9), for_=stays)

    def _is_over(self, aim: Aim) -> bool:
        if aim.done_at is not None:
            return True
        if aim.by is not None:
            return utcnow() > aim.by + NET
        busy = Pod.objects.billable().filter(fleet=aim.fleet)
        began = utcnow() > aim.set_at + timedelta(minutes=15)
        return began and not busy.exists() and self._spent(aim) > aim.spent_usd

    def _check(self, aim: Aim) -> None:
        if aim.done_at is None and not aim.agents.left:
            aim.done_at = utcnow()
        if aim.by is not None and utcnow() <= aim.by - NET:
            aim.faults = self._day.draws.faults
        if aim.budget_usd is not None:
            self._check_budget(aim, aim.budget_usd)

    def _check_budget(self, aim: Aim, budget_usd: Decimal) -> None:
        """Check the ledger and the bill; what no tick could see or end is allowed for under faults."""
        pods = Pod.objects.filter(fleet=aim.fleet, requested_at__gte=aim.set_at)
        prices = list(pods.values_list("hourly_usd", flat=True))
        allowed = Decimal(0)
        if self._faults:
            dearest = max(prices, default=Decimal(0))
            allowed = cost(dearest * PLACES, LONGEST_TICK + self._day.invariants.beat_was_silent)
        with _named(aim):
            goal_judge.check_budget(
                budget_usd,
                spent_usd=self._spent(aim) - aim.spent_usd - _not_proved(aim),
                billed_usd=self._billed(aim) - aim.billed_usd,
                allowed=allowed,
                unseen=cost(sum(prices, Decimal(0)), UNDER_COUNTED),
            )

    def _verdict(self, aim: Aim) -> str:
        if aim.by is None:
            return "budget, done" if aim.done_at else "budget, not done"
        end = min(aim.by, aim.done_at or aim.by)
        ticks = Tick.objects.filter(fleet=aim.fleet, at__gt=aim.set_at, at__lte=end).order_by("pk")
        with _named(aim):
            return goal_judge.verdict(
                Deadline(
                    set_at=aim.set_at,
                    by=aim.by,
                    done_at=aim.done_at,
                    said=[_said(tick) for tick in ticks],
                    faults=self._faults,
                    late_fault=self._day.draws.faults > aim.faults,
                )
            )

    def _spent(self, aim: Aim) -> Decimal:
        return spending.spent(utcnow(), fleet_id=aim.fleet.pk).total

    def _billed(self, aim: Aim) -> Decimal:
        """What the vendors billed for the fleet's machines, as far as they did not lie about them."""
        vendors: dict[str, Vendor] = {v.name: v for v in self._day.vendors}
        rows = Pod.objects.filter(fleet=aim.fleet).exclude(external_id=None)
        return sum(
            (
                vendors[name].billed_usd(str(machine))
                for name, machine in rows.values_list("provider", "external_id")
                if machine not in vendors[name].misreported
            ),
            Decimal(0),
        )


def _said(tick: Tick) -> Said:
    return Said(
        at=tick.at,
        risk=tick.risk,
        known=tick.depth is not None,
        stuck=any(map(is_stuck, replayed(tick.snapshot).pods)),
    )


def _not_proved(aim: Aim) -> Decimal:
    """USD booked since destroys were asked for: the ledger gives them back where the end is proved."""
    going = Pod.objects.filter(fleet=aim.fleet, state=TERMINATING.value)
    asked = [(p.hourly_usd, p.destroy_asked_at) for p in going]
    return sum((cost(usd, utcnow() - at) for usd, at in asked if at is not None), Decimal(0))


@contextmanager
def _named(aim: Aim) -> Iterator[None]:
    """Say in a violation which fleet it is."""
    try:
        yield
    except Violated as exc:
        raise Violated(f"S20: {aim.fleet}: {exc}") from exc
