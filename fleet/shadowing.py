"""Shadows: other settings of a fleet, decided at every tick beside the live ones, and never acted on.

A background task reads the ticks that were recorded since its last run. So a tick does not know of
shadows: it takes as long as without them, and a fault here cannot reach it.
"""

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from fleet import comparing, forecasting, operating
from fleet.decision import shadow as deciding
from fleet.decision.model_pods import ModelPods
from fleet.decision.outlook import NoOutlook, outlook
from fleet.decision.shadow import Beside, Carried, Figures, Rules
from fleet.decision.values import Goal, Policy, Snapshot
from fleet.decision.what_if import Recorded
from fleet.models import Fleet, Limits, Shadow, ShadowTick, Tick
from fleet.money import spending
from fleet.tick import wishes
from fleet.tick.policies import policy_of
from fleet.tick.recording import replayed_policy
from pods.base.shared_clock import shared_now
from pods.models import histories

log = structlog.get_logger(__name__)
USUAL_DAYS: Final = 14
MOST_DAYS: Final = 90
# For how long one run works on all shadows, and how many ticks it reads of each.
LONGEST: Final = timedelta(seconds=8)
MOST_TICKS: Final = 400
# Between two readings of the market, with the forecast that they allow.
FORECAST_EVERY: Final = timedelta(minutes=5)
# Enough for a comparison: it takes half as long as the fleet's own forecast.
REPLAYS: Final = 20
LONGEST_REASON: Final = 300
LONGEST_SENTENCE: Final = 600
OFFERS: Final = "offer_query"
# The fields on which a decision depends. Others may hold a secret, and are not kept in a shadow.
FIELDS: Final = (
    "goal", "drain_by", "budget_usd", "target_depth_per_pod", "min_instances", "max_instances",
    "spawn_per_tick", "idle_seconds", "idle_action", "max_stopped_hours", "drain_seconds",
    "max_hourly_usd", "daily_budget_usd", "total_budget_usd", "max_pod_hours", "min_busy_percent",
    "tolerated_failure_percent", "batch_size", "mode", OFFERS,
)  # fmt: skip
_CARRIED: Final = TypeAdapter(Carried)
_LEAST: Final = {"target_depth_per_pod": 1}  # the one field of a Policy without a default


def begin(fleet: Fleet, values: Mapping[str, Any], *, days: int = USUAL_DAYS, by: str) -> Shadow:
    """Run these values of a fleet's fields beside it; a shadow that it has is replaced.

    Raises:
        ValidationError: a value is wrong, no decision depends on any, or the fleet is archived.
    """
    operating.refuse_archived(fleet)
    if not values:
        raise ValidationError(
            "name at least one setting that is to differ, such as max_instances=8"
        )
    if not 1 <= days <= MOST_DAYS:
        raise ValidationError(f"days: give 1 to {MOST_DAYS}")
    changes = _changes(fleet, values)
    now = shared_now()
    with transaction.atomic():
        Shadow.objects.filter(fleet=fleet).delete()
        found = Shadow.objects.create(
            fleet=fleet, settings=dict(to_jsonable_python(values)), by=by, since=now,
            changes=to_jsonable_python(changes, timedelta_mode="float"),
            until=now + timedelta(days=days), because="the next tick begins it",
        )  # fmt: skip
        histories.note(fleet, f"shadow {found.said} begun for {days} days by {by}")
    log.info("shadow_begun", fleet=fleet.name, settings=found.said, by=by)
    return found


def _changes(fleet: Fleet, values: Mapping[str, Any]) -> dict[str, Any]:
    if others := [name for name in values if name not in FIELDS]:
        raise ValidationError(f"{', '.join(others)}: no decision depends on it")
    other = comparing.edited(fleet, values)
    other.full_clean(exclude=["schedule"])
    rest = {name: value for name, value in values.items() if name != OFFERS}
    if OFFERS in values and _asks_otherwise(fleet, other):
        if not rest:
            return {}
    else:
        rest = dict(values)
    changes = comparing.differences(fleet, other)
    if not changes:
        return comparing.policy_changes(fleet, rest)  # it says why
    if changes.keys() & {"goal", "budget_usd"} and other.goal == Goal.BUDGET.value:
        changes["budget_from_usd"] = spending.spent(shared_now(), fleet_id=fleet.pk).total
    return changes


def _asks_otherwise(fleet: Fleet, other: Fleet) -> bool:
    try:
        return wishes.wanted(other) != wishes.wanted(fleet)
    except ValueError as exc:
        raise ValidationError({OFFERS: str(exc)}) from exc


def end(fleet: Fleet) -> Shadow | None:
    """End the shadow of a fleet now and keep what it decided; None: it has none, or it is over."""
    now = shared_now()
    row = Shadow.objects.filter(fleet=fleet, until__gt=now).first()
    if row is not None:
        with transaction.atomic():
            row.until = max(now, row.since)
            row.save(update_fields=["until"])
            histories.note(fleet, f"shadow {row.said} ended by hand")
    return row


def go_on(*, longest: timedelta = LONGEST) -> int:
    """Let the shadows read the new ticks, those first that waited longest; return how many did.

    Safe to run twice, at the same time, or to be killed at any line: one transaction writes what one
    run of one shadow found, and only if no other run was faster.
    """
    now, stop = shared_now(), time.monotonic() + longest.total_seconds()
    there = Shadow.objects.filter(until__gt=now, fleet__archived_at=None).select_related("fleet")
    count = 0
    for row in there.order_by(F("reached_at").asc(nulls_first=True), "pk"):
        try:
            go_on_with(row, now)
            because = ""
        except Exception as exc:  # the row says it, so the others have their turn
            log.exception("shadow_failed", fleet=row.fleet.name)
            because = f"it failed: {type(exc).__name__}"
        if because:
            Shadow.objects.filter(pk=row.pk).update(because=because)
        count += 1
        if time.monotonic() > stop:
            break
    return count


def go_on_with(row: Shadow, now: datetime) -> None:
    """Let one shadow read the new ticks of its fleet."""
    carried = _CARRIED.validate_json(zlib.decompress(row.state)) if row.state else None
    facts = _facts(row, carried, now)
    lent = carried.lent if carried else None
    rules = rules_of(row, replace(facts.seen, pods=()) if facts else lent)
    ticks = _new_ticks(row)
    found: list[Beside] = []
    if carried is None:
        carried, found = _begun(ticks, rules)
    elif len(ticks) > 1:
        carried, found = deciding.go_on(carried, ticks[0], ticks[1:], rules)
    because = "" if carried else "no tick has known the backlog and the speed of a pod yet"
    values: dict[str, Any] = {"because": because}
    if facts is not None and carried is not None:
        values |= _forecast(carried, facts, rules, now)
    _write(row, carried, found, values)


def _begun(ticks: Sequence[Recorded], rules: Rules) -> tuple[Carried | None, list[Beside]]:
    for n, tick in enumerate(ticks):
        if (first := deciding.begin(tick, rules)) is not None:
            carried, rest = deciding.go_on(first[0], tick, ticks[n + 1 :], rules)
            return carried, [first[1], *rest]
    return None, []


def _facts(row: Shadow, carried: Carried | None, now: datetime) -> forecasting.Facts | None:
    """The market and the pods as the other settings see them, read every few minutes."""
    at = row.forecast_at
    if carried is not None and at is not None and now - at < FORECAST_EVERY:
        return None
    return forecasting.facts_of(comparing.edited(row.fleet, row.settings), now)


def rules_of(row: Shadow, lent: Snapshot | None) -> Rules:
    """The second policy of a shadow; `lent`: the facts that only it reads."""
    typed = replayed_policy({**_LEAST, **row.changes})
    changes = {name: getattr(typed, name) for name in row.changes}

    def change(policy: Policy) -> Policy:
        return replace(policy, **changes)

    return Rules(change=change, lent=lent, asks_otherwise=OFFERS in row.settings)


def _new_ticks(row: Shadow) -> list[Recorded]:
    """The ticks since the last run, with the one at which it ended."""
    rows = Tick.objects.filter(fleet=row.fleet, at__gte=row.reached_at or row.since)
    present = policy_of(row.fleet, Limits.get(), shared_now())
    return [comparing.recorded_tick(t, present) for t in rows.order_by("at")[: MOST_TICKS + 1]]


def _forecast(
    carried: Carried, facts: forecasting.Facts, rules: Rules, now: datetime
) -> dict[str, Any]:
    """The columns of a forecast from the pods and the backlog of the model."""
    values: dict[str, Any] = {
        "forecast_at": now, "likely_at": None, "sure_at": None, "likely_usd": None,
        "no_forecast_because": "",
    }  # fmt: skip
    policy = rules.change(facts.policy)
    world = ModelPods.again(carried.shadow, carried.market)
    seen = world.snapshot(facts.seen, max(now, carried.shadow.now), policy)
    try:
        found = outlook(
            replace(seen, offers=facts.seen.offers), policy, facts.history, replays=REPLAYS
        )
    except (NoOutlook, ValueError) as exc:
        return {**values, "no_forecast_because": str(exc)[:LONGEST_REASON]}
    likely = {"likely_at": found.likely_at, "sure_at": found.sure_at}
    return {**values, **likely, "likely_usd": found.likely_usd}


def _write(
    row: Shadow, carried: Carried | None, found: Sequence[Beside], values: dict[str, Any]
) -> None:
    """Keep what one run found, unless another run of the same shadow was faster."""
    if found and carried is not None:
        values |= {
            "reached_at": found[-1].tick.seen.now,
            "state": zlib.compress(_CARRIED.dump_json(carried)),
            "ticks": F("ticks") + len(found),
            "differed": F("differed") + sum(one.differs for one in found),
        }
    with transaction.atomic():
        same = Shadow.objects.filter(pk=row.pk, reached_at=row.reached_at)
        if not same.update(**values):
            log.info("shadow_overtaken", fleet=row.fleet.name)
            return
        ShadowTick.objects.bulk_create([_moment(row, one) for one in found])


def _moment(row: Shadow, one: Beside) -> ShadowTick:
    return ShadowTick(
        shadow=row, at=one.tick.seen.now, live=_figures(one.live), model=_figures(one.model),
        changed=_figures(one.shadow), differs=one.differs, news=one.news,
        live_sentence=one.lived.sentence[:LONGEST_SENTENCE] if one.news else "",
        sentence=one.decision.sentence[:LONGEST_SENTENCE] if one.news else "",
    )  # fmt: skip


def _figures(found: Figures) -> dict[str, Any]:
    return {
        "depth": found.depth, "pods": found.pods, "most_pods": found.most_pods,
        "spent_usd": f"{found.spent_usd:.6f}",
        "pod_hours": round(found.pod_hours, 4), "done": found.done,
    }  # fmt: skip
