"""Fleets: what they are and how they are, and their verbs."""

from collections.abc import Callable, Sequence
from copy import copy
from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet import archiving, moving, operating
from fleet.api import fleet_fields, idempotency
from fleet.api.auth import by, needs
from fleet.api.fleet_fields import Changed, Created
from fleet.api.foresight import ForecastOut
from fleet.api.idempotency import Key, Made, Work
from fleet.api.named import fleet_called
from fleet.api.paging import Asked, Page, cursor_of, keys_of
from fleet.api.problems import Problem
from fleet.api.values import Flag, FleetName, Given, IfMatch, Moment, Usd, is_named, seconds_of
from fleet.decision.values import Mode
from fleet.models import Fleet
from fleet.operating import EditedMeanwhile
from fleet.pages.overview import FleetCard, overview
from fleet.pages.status import status_of

router: Final = Router(tags=["fleets"])
TRIES: Final = 3  # the software itself rarely writes a fleet twice within a request
GROUP_LATER: Final = (
    "Redis does not answer, so the consumer group is not made yet; edit the fleet again"
)


class PodNow(BaseModel):
    """A pod that may bill."""

    name: str
    state: str
    age_seconds: float
    hourly_usd: Usd
    done: int = Field(description="Items.")
    items_per_second: float | None
    idle_seconds: float | None
    in_flight: int | None
    busy_percent: float | None
    gpu_percent: float | None
    rtt_ms: float | None
    bottleneck: str
    note: str


class FleetNow(BaseModel):
    """The present state of a fleet. What is not known is null."""

    name: str
    at: Moment
    health: str
    health_because: str
    mode: str
    archived_at: Moment | None
    archive_when_empty: bool
    depth: int | None = Field(description="Items that wait or are in work.")
    depth_estimated: bool
    unknown_because: str
    items_per_second: float | None
    eta_seconds: float | None
    states: dict[str, int]
    max_instances: int
    hourly_usd: Usd
    max_hourly_usd: Usd | None
    spent_today_usd: Usd
    spent_total_usd: Usd
    busy_percent: float | None
    gpu_percent: float | None
    bottleneck: str | None
    trouble: str
    last_decision: str
    forecast: ForecastOut | None
    pods: list[PodNow]


class FleetOut(fleet_fields.Settings):  # type: ignore[misc]
    """A fleet: its settings, which a PATCH changes, and its present state."""

    id: int
    name: str
    accounts: list[str]
    tick_seconds: float
    created_at: Moment
    status: FleetNow
    warnings: list[str] = Field(default=[], description="What an edit leaves to do.")


class FleetRow(BaseModel):
    """A fleet in a list, as its last decision and its pods show it. What is not known is null."""

    id: int
    name: str
    mode: str
    health: str
    health_because: str
    needs_you: bool
    archived: bool
    archive_when_empty: bool
    depth: int | None
    eta_seconds: float | None
    items_per_second: float
    states: dict[str, int]
    max_instances: int
    hourly_usd: Usd
    max_hourly_usd: Usd | None
    spent_today_usd: Usd
    daily_budget_usd: Usd | None
    decided_at: Moment | None
    last_decision: str


class FleetPage(Page):
    """Fleets in the order in which they were made."""

    items: list[FleetRow]


class WhichFleets(Asked):
    """Which fleets."""

    archived: bool = Field(False, description="The archived ones, instead of those in use.")


@router.get("/fleets", response=FleetPage, **needs("fleet.view_fleet"))
def list_fleets(request: HttpRequest, asked: Query[WhichFleets]) -> FleetPage:
    """List fleets with their health, as `fleet list --json` does."""
    which = Fleet.objects.exclude(archived_at=None) if asked.archived else None
    rows = Fleet.objects.filter(archived_at=None) if which is None else which
    if keys := keys_of(asked.cursor, int):
        rows = rows.filter(pk__gt=keys[0])
    pks = list(rows.order_by("pk").values_list("pk", flat=True)[: asked.limit + 1])
    shown = pks[: asked.limit]
    cards = sorted(overview(Q(pk__in=shown)).cards, key=lambda card: card.pk)
    more = cursor_of(shown[-1]) if len(pks) > asked.limit else None
    return FleetPage(items=[_row(card) for card in cards], next=more)


def _row(card: FleetCard) -> FleetRow:
    return FleetRow(
        id=card.pk, name=card.name, mode=card.mode, health=card.health.health.value,
        health_because=card.health.because, needs_you=card.needs_you, archived=card.archived,
        archive_when_empty=card.archive_when_empty, depth=card.depth,
        eta_seconds=seconds_of(card.eta), items_per_second=card.items_per_second,
        states=dict(card.states), max_instances=card.max_instances, hourly_usd=card.hourly_usd,
        max_hourly_usd=card.max_hourly_usd, spent_today_usd=card.spent_today_usd,
        daily_budget_usd=card.daily_budget_usd, decided_at=card.decided_at,
        last_decision=card.sentence,
    )  # fmt: skip


@router.post("/fleets", response={201: FleetOut}, **needs("fleet.add_fleet"))
def create_fleet(request: HttpRequest, wanted: Created, key: Key) -> HttpResponse:
    """Create a fleet with its schedule and its consumer group."""

    def create(work: Work) -> Made:
        if work.made is None:
            fleet = _create(wanted, work, by(request), request.user.get_username())
        else:
            fleet = Fleet.objects.get(pk=work.made)
        ready = operating.prepare(fleet)
        return _whole(fleet, 201, [] if ready else [GROUP_LATER])

    return idempotency.once(request, key, create)


def _create(wanted: Any, work: Work, who: str, user: str) -> Fleet:
    values = fleet_fields.given(wanted)
    _refuse_masks(values)
    accounts = operating.accounts_named(wanted.accounts)
    filled = {k: v for k, v in values.items() if v is not None}
    fleet = Fleet(name=wanted.name, created_by=user, **filled)
    with transaction.atomic():
        operating.create(fleet, accounts, tick=_tick(wanted), by=who)
        work.remember(fleet.pk)
    return fleet


def _tick(body: Any) -> timedelta | None:
    return None if body.tick_seconds is None else timedelta(seconds=body.tick_seconds)


def _refuse_masks(values: dict[str, Any]) -> None:
    if wrong := fleet_fields.masks_in(values):
        raise Problem(422, "; ".join(f"{n}: {t}" for n, (t,) in wrong.items()), errors=wrong)


@router.get("/fleets/{name}", response=FleetOut, **needs("fleet.view_fleet"))
def read_fleet(request: HttpRequest, name: str) -> HttpResponse:
    """Read a fleet: its settings and its present state. The header ETag is for an edit."""
    return _whole(fleet_called(name)).response()


def _whole(fleet: Fleet, status: int = 200, warnings: Sequence[str] = ()) -> Made:
    accounts = sorted(fleet.accounts.values_list("name", flat=True))
    tick = fleet.tick_period.total_seconds()
    body = FleetOut(
        id=fleet.pk, name=fleet.name, accounts=accounts, tick_seconds=tick,
        created_at=fleet.created_at, status=FleetNow(**status_of(fleet).as_json()),
        warnings=list(warnings), **fleet_fields.shown(fleet),
    )  # fmt: skip
    return Made(
        status=status, body=body, headers={"ETag": fleet_fields.etag(fleet, accounts, tick)}
    )


@router.patch("/fleets/{name}", response=FleetOut, **needs("fleet.change_fleet"))
def edit_fleet(
    request: HttpRequest,
    name: str,
    wanted: Changed,
    if_match: IfMatch,
) -> HttpResponse:
    """Change the fields that are sent, and no others; in force from the next tick."""
    if not wanted.model_fields_set:
        raise Problem(422, "nothing to change; send at least one field")
    changes = fleet_fields.given(wanted)
    if "name" in wanted.model_fields_set:
        changes["name"] = wanted.name
    _refuse_masks(changes)

    def edit(fleet: Fleet) -> Made:
        _refuse_stale(fleet, if_match)
        named = wanted.accounts
        accounts = None if named is None else operating.accounts_named(named)
        before = copy(fleet)
        operating.edit(fleet, changes, accounts=accounts, tick=_tick(wanted), by=by(request))
        left = moving.left_behind(before, fleet)
        ready = operating.prepare(fleet)
        return _whole(fleet, 200, [left] * bool(left) + [GROUP_LATER] * (not ready))

    return _as_it_is(name, edit).response()


def _refuse_stale(fleet: Fleet, if_match: str) -> None:
    """Refuse an edit of a fleet that is not as the caller read it.

    Raises:
        Problem: 428 or 412.
    """
    if not if_match:
        text = "send the header If-Match with the ETag of the fleet that you have read"
        raise Problem(428, text)
    accounts = sorted(fleet.accounts.values_list("name", flat=True))
    now = fleet_fields.etag(fleet, accounts, fleet.tick_period.total_seconds())
    if not is_named(now, if_match):
        raise Problem(
            412, f"somebody else changed {fleet.name} meanwhile; read it again, then edit"
        )


def _as_it_is(name: str, act: Callable[[Fleet], Made]) -> Made:
    """Act on the fleet as it is; again where only the software itself wrote it meanwhile."""
    for _ in range(TRIES - 1):
        try:
            return act(fleet_called(name))
        except EditedMeanwhile:
            continue
    return act(fleet_called(name))


def _steer(request: HttpRequest, name: str, mode: Mode) -> HttpResponse:
    def steer(fleet: Fleet) -> Made:
        return _whole(operating.set_mode(fleet, mode, by=by(request)))

    return _as_it_is(name, steer).response()


@router.post("/fleets/{name}/pause", response=FleetOut, **needs("fleet.change_fleet"))
def pause_fleet(request: HttpRequest, name: str) -> HttpResponse:
    """Start no new pods; running pods keep working."""
    return _steer(request, name, Mode.PAUSED)


@router.post("/fleets/{name}/resume", response=FleetOut, **needs("fleet.change_fleet"))
def resume_fleet(request: HttpRequest, name: str) -> HttpResponse:
    """Run again after a pause or a stop, or try again after pods that failed."""
    return _steer(request, name, Mode.RUNNING)


@router.post("/fleets/{name}/stop", response=FleetOut, **needs("fleet.change_fleet"))
def stop_fleet(request: HttpRequest, name: str) -> HttpResponse:
    """Start no new pods; drain and destroy all pods of the fleet."""
    return _steer(request, name, Mode.STOP_ALL)


class Archive(Given):
    """How to archive a fleet."""

    when_empty: Flag = Field(False, description="Pause it now, archive it after its last pod.")
    rename_to: FleetName | None = Field(
        None, description="Another name, which frees the present one."
    )


class Restore(Given):
    """How to bring a fleet back."""

    rename_to: FleetName | None = Field(None, description="Another name.")


@router.post("/fleets/{name}/archive", response=FleetOut, **needs("fleet.change_fleet"))
def archive_fleet(request: HttpRequest, name: str, wanted: Archive) -> HttpResponse:
    """Hide a fleet without pods and stop its ticks; keep its history."""

    def archive(fleet: Fleet) -> Made:
        new = wanted.rename_to or ""
        archiving.archive(fleet, when_empty=wanted.when_empty, name=new, by=by(request))
        return _whole(fleet)

    return _as_it_is(name, archive).response()


@router.post("/fleets/{name}/restore", response=FleetOut, **needs("fleet.change_fleet"))
def restore_fleet(request: HttpRequest, name: str, wanted: Restore) -> HttpResponse:
    """Bring an archived fleet back, paused."""

    def restore(fleet: Fleet) -> Made:
        archiving.restore(fleet, name=wanted.rename_to or "", by=by(request))
        return _whole(fleet)

    return _as_it_is(name, restore).response()


@router.delete("/fleets/{name}", response={204: None}, **needs("fleet.delete_fleet"))
def delete_fleet(request: HttpRequest, name: str) -> HttpResponse:
    """Delete an archived fleet whose pods cost nothing, with its decisions, pods and alerts."""
    fleet = fleet_called(name)
    if why := archiving.why_kept(fleet):
        raise Problem(409, why)
    try:
        archiving.delete(fleet, by=by(request))
    except ValidationError as exc:
        raise Problem(409, "; ".join(exc.messages)) from exc
    return HttpResponse(status=204)
