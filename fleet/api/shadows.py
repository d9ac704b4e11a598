"""Shadows: other settings of a fleet, decided at every tick beside the live ones, never acted on."""

from typing import Any, Final

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import BaseModel, Field, create_model

from fleet import shadowing
from fleet.api import fleet_fields
from fleet.api.auth import by, needs
from fleet.api.named import fleet_called
from fleet.api.problems import Problem
from fleet.api.values import Given, Moment, Usd, taken_whole
from fleet.pages import shadows

router: Final = Router(tags=["fleets"])
Different: Final = fleet_fields.body_of("ShadowSettings", Given, names=shadowing.FIELDS)


DAYS: Final = Field(shadowing.USUAL_DAYS, description="It ends by itself after so many days.")
ShadowWanted: Any = create_model(
    "ShadowWanted",
    __base__=Given,
    settings=(Different, Field(description="The settings that are to differ.")),
    days=(taken_whole(1, shadowing.MOST_DAYS), DAYS),
)


class CourseOut(BaseModel):
    """The fleet, the model of it, or the model with the other settings; sums since the beginning."""

    course: str = Field(description="live, model or changed.")
    pods: int
    most_pods: int
    pod_hours: float
    done: int | None = Field(description="Items; null: the backlog is unknown.")
    left: int | None
    spent_usd: Usd
    likely_at: Moment | None = Field(description="When it is probably done; null: not known.")


class DifferenceOut(BaseModel):
    """A tick at which the two decided differently, and otherwise than before."""

    at: Moment
    live: str
    shadow: str


class ShadowOut(BaseModel):
    """A shadow and what it found."""

    fleet: str
    settings: dict[str, Any]
    by: str
    since: Moment
    until: Moment
    over: bool
    because: str = Field(description="Why it stands still; empty: it goes on.")
    reached_at: Moment | None = Field(description="The last tick that it read.")
    ticks: int
    differed: int = Field(description="Ticks at which it decided otherwise.")
    courses: list[CourseOut]
    differences: list[DifferenceOut] = Field(description="The newest first, at most 20.")


@router.get("/fleets/{name}/shadow", response=ShadowOut, **needs("fleet.view_fleet"))
def show_shadow(request: HttpRequest, name: str) -> ShadowOut:
    """Show the shadow of a fleet, with what it found."""
    return _shown(name)


def _shown(name: str) -> ShadowOut:
    found = shadows.told(fleet_called(name))
    if found is None:
        raise Problem(404, "the fleet has no shadow; PUT begins one")
    return ShadowOut(**found.as_json())


@router.put("/fleets/{name}/shadow", response=ShadowOut, **needs("fleet.change_fleet"))
def begin_shadow(request: HttpRequest, name: str, wanted: ShadowWanted) -> ShadowOut:
    """Run other settings beside the fleet; nothing is rented. A shadow that it has is replaced."""
    values = fleet_fields.given(wanted.settings)
    try:
        shadowing.begin(fleet_called(name), values, days=wanted.days, by=by(request))
    except ValidationError as exc:
        raise Problem(422, "; ".join(exc.messages)) from exc
    return _shown(name)


@router.delete("/fleets/{name}/shadow", response={204: None}, **needs("fleet.change_fleet"))
def end_shadow(request: HttpRequest, name: str) -> HttpResponse:
    """End the shadow of a fleet; what it found can still be read."""
    if shadowing.end(fleet_called(name)) is None:
        raise Problem(404, "the fleet has no shadow that runs")
    return HttpResponse(status=204)
