"""Manual holds: an operator sets the number of pods of a fleet until a time, and ends that."""

from typing import Final

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router
from pydantic import BaseModel, Field

from fleet import holding
from fleet.api import idempotency, paging
from fleet.api.auth import by, needs
from fleet.api.idempotency import Key, Made, Work
from fleet.api.named import fleet_called, of_fleet
from fleet.api.paging import Asked, Page
from fleet.api.problems import Problem
from fleet.api.values import Count, Given, Id, Moment, MomentIn, Reason
from fleet.models import Override
from pods.base.clock import utcnow

router: Final = Router(tags=["holds"])


class HoldOut(BaseModel):
    """A manual hold. The newest one of a fleet that lasts counts; limits still apply."""

    id: int
    fleet: str
    pods: int
    until: Moment
    by: str
    because: str
    created_at: Moment


class HoldPage(Page):
    """Holds, the newest first."""

    items: list[HoldOut]


class WhichHolds(Asked):
    """Which holds."""

    fleet: str = Field("", max_length=40, description="Of this fleet.")
    lasting: bool = Field(True, description="Only those that have not ended.")


class HoldCreate(Given):
    """Hold a fleet at a number of pods."""

    pods: Count
    until: MomentIn
    because: Reason = Field(description="Decisions show it.")


def _of(hold: Override) -> HoldOut:
    return HoldOut(
        id=hold.pk, fleet=hold.fleet.name, pods=hold.pods, until=hold.until, by=hold.by,
        because=hold.because, created_at=hold.created_at,
    )  # fmt: skip


@router.get("/holds", response=HoldPage, **needs("fleet.view_override"))
def list_holds(request: HttpRequest, asked: Query[WhichHolds]) -> HoldPage:
    """List manual holds."""
    rows = Override.objects.filter(of_fleet(asked.fleet)).select_related("fleet")
    if asked.lasting:
        rows = rows.filter(until__gt=utcnow())
    found, more = paging.by_id(rows, asked)
    return HoldPage(items=[_of(hold) for hold in found], next=more)


@router.post("/fleets/{name}/holds", response={201: HoldOut}, **needs("fleet.add_override"))
def hold_fleet(request: HttpRequest, name: str, wanted: HoldCreate, key: Key) -> HttpResponse:
    """Hold a fleet at a number of pods until a time; the formula does not decide meanwhile."""
    fleet = fleet_called(name)

    def hold(work: Work) -> Made:
        if work.made is None:
            row = Override(
                fleet=fleet, pods=wanted.pods, until=wanted.until, because=wanted.because
            )
            with transaction.atomic():
                holding.hold(row, by=by(request))
                work.remember(row.pk)
        else:
            row = Override.objects.select_related("fleet").get(pk=work.made)
        return Made(status=201, body=_of(row))

    return idempotency.once(request, key, hold)


@router.post("/holds/{hold_id}/end", response=HoldOut, **needs("fleet.change_override"))
def end_hold(request: HttpRequest, hold_id: Path[Id]) -> HoldOut:
    """End a hold now; the formula decides from the next tick."""
    rows = Override.objects.filter(pk=hold_id).select_related("fleet")
    holding.end_now(Override.objects.filter(pk=hold_id), now=utcnow())
    if (hold := rows.first()) is None:
        raise Problem(404, "no hold has this id; GET /api/v1/holds lists them")
    return _of(hold)
