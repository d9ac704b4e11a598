"""Decisions: what each tick saw, and why it did what it did."""

from typing import Any, Final

from django.http import HttpRequest
from ninja import Path, Query, Router
from pydantic import BaseModel, Field

from fleet.api import paging
from fleet.api.auth import needs
from fleet.api.named import of_fleet
from fleet.api.paging import Asked, Page
from fleet.api.problems import Problem
from fleet.api.values import Id, Moment, Usd
from fleet.models import Tick

router: Final = Router(tags=["decisions"])


class DecisionOut(BaseModel):
    """One tick of one fleet. What is not known is null."""

    id: int
    fleet: str
    at: Moment
    sentence: str
    depth: int | None = Field(description="Items that waited or were in work.")
    active: int = Field(description="Pods that worked or would work.")
    ready: int
    desired: int = Field(description="Pods that the items were worth.")
    target: int = Field(description="Pods after every rule.")
    spawned: int
    retired: int
    binding: str = Field(description="The rule that kept it below what the items were worth.")
    held_back: str = Field(description="What that rule says.")
    items_per_second: float | None
    hourly_usd: Usd
    spent_today_usd: Usd
    failing: int = Field(description="Pods in a row that failed.")
    trouble: str
    busy_percent: float | None
    gpu_percent: float | None
    bottleneck: str


class DecisionDetail(DecisionOut):
    """A decision with the part of each rule."""

    steps: list[dict[str, Any]]


class DecisionPage(Page):
    """Decisions, the newest first."""

    items: list[DecisionOut]


class WhichDecisions(Asked):
    """Which decisions."""

    fleet: str = Field("", max_length=40, description="Of this fleet.")


def _of(tick: Tick, kind: type[BaseModel]) -> dict[str, Any]:
    own = {name: getattr(tick, name) for name in kind.model_fields if name != "fleet"}
    return {**own, "fleet": tick.fleet.name}


@router.get("/decisions", response=DecisionPage, **needs("fleet.view_tick"))
def list_decisions(request: HttpRequest, asked: Query[WhichDecisions]) -> DecisionPage:
    """List decisions."""
    rows = Tick.objects.filter(of_fleet(asked.fleet)).select_related("fleet")
    found, more = paging.by_time(rows.defer("steps", "snapshot"), asked)
    return DecisionPage(items=[DecisionOut(**_of(t, DecisionOut)) for t in found], next=more)


@router.get("/decisions/{decision_id}", response=DecisionDetail, **needs("fleet.view_tick"))
def read_decision(request: HttpRequest, decision_id: Path[Id]) -> DecisionDetail:
    """Read a decision with the part of each rule."""
    rows = Tick.objects.select_related("fleet").defer("snapshot")
    tick = rows.filter(pk=decision_id).first()
    if tick is None:
        raise Problem(404, "no decision has this id, or it is older than decisions are kept")
    return DecisionDetail(**_of(tick, DecisionDetail))
