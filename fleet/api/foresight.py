"""What will be: the next tick of a fleet, and its forecast."""

from typing import Final

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel, Field

from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.values import Moment, Usd
from fleet.tick import ticking

router: Final = Router(tags=["fleets"])


class ForecastOut(BaseModel):
    """The last forecast of a fleet; `likely` is its middle, `sure` holds in nine of ten cases."""

    at: Moment
    because: str = Field(description="Why there is none; empty: there is one.")
    depth: int = Field(description="Items at that time.")
    drain_by: Moment | None = Field(description="The deadline for which it was made.")
    likely_at: Moment | None = Field(
        description="When it is done; null: not as far as it sees, or it is not known."
    )
    sure_at: Moment | None
    likely_usd: Usd = Field(description="From that time on.")
    sure_usd: Usd
    pods: int = Field(description="The most at once.")
    pod_hours: float
    on_time: float | None = Field(description="The share of the replays that make the deadline.")
    money_ends: float = Field(description="In which a budget ends before the backlog.")
    left: int = Field(description="Items that are left in these.")
    days: float = Field(description="Of recorded market; under 2 it is a rough guess.")
    replays: int


class StepOut(BaseModel):
    """What one rule made of the number of pods."""

    rule: str
    before: int
    after: int
    because: str


class NextTick(BaseModel):
    """What the next tick would do."""

    sentence: str
    desired: int
    target: int
    binding: str | None = Field(
        description="The rule that keeps it below what the items are worth."
    )
    spawn: int = Field(description="How many pods it would start.")
    retire: list[int] = Field(description="The ids of the pods that it would end.")
    steps: list[StepOut]


@router.get("/fleets/{name}/next", response=NextTick, **needs("fleet.view_fleet"))
def preview_tick(request: HttpRequest, name: str) -> NextTick:
    """Say what the next tick would do, rule by rule; change nothing."""
    decision = ticking.preview(fleet_called(name))
    return NextTick(
        sentence=decision.sentence, desired=decision.desired, target=decision.target,
        binding=None if decision.binding is None else decision.binding.value,
        spawn=len(decision.spawn), retire=[each.pod_id for each in decision.retire],
        steps=[
            StepOut(rule=s.rule, before=s.before, after=s.after, because=s.because)
            for s in decision.steps
        ],
    )  # fmt: skip
