"""What will be: the next tick of a fleet, its forecast, and a quote."""

from typing import Final

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet import quoting
from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.problems import Problem
from fleet.api.values import AnyMomentIn, Moment, Usd, UsdIn
from fleet.decision.outlook import NoOutlook
from fleet.decision.quote import Asked
from fleet.quoting import MOST_ITEMS, BadQuote
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
    likely_usd: Usd = Field(
        description="From that time on; if likely_at is null, only until its money or the replays end."
    )
    sure_usd: Usd
    pods: int = Field(description="The most at once.")
    pod_hours: float
    on_time: float | None = Field(description="The share of the replays that make the deadline.")
    money_ends: float = Field(description="In which a budget ends before the backlog.")
    left: int = Field(description="Items that are left in the replays that are not done.")
    held_by: str = Field(description="The limit on money that makes it late; empty: none does.")
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


class Expected(BaseModel):
    """What is to be expected; `likely` is the middle, `sure` holds in nine of ten cases."""

    pods: int = Field(description="The most at once.")
    likely_seconds: float | None = Field(description="Until it is done; null: longer than it sees.")
    sure_seconds: float | None
    likely_pod_hours: float | None = Field(description="Of all items; null: it is not done.")
    sure_pod_hours: float | None
    likely_usd: Usd | None = Field(description="The price of all items; null: it is not done.")
    sure_usd: Usd | None
    spent_usd: Usd = Field(
        description="In the middle, until it is done, or its money or time ends."
    )
    on_time: float | None = Field(description="The share of the replays that make the deadline.")
    money_ends: float = Field(description="In which the money ends before the items.")
    left: int = Field(description="Items that are left in the replays that are not done.")


class QuotedOffer(Expected):
    """One type of offers alone, on all places of the fleet."""

    account: str
    gpu: str
    gpus: int
    region: str
    interruptible: bool
    hourly_usd: Usd
    items_per_second: float | None = Field(description="Of one pod.")


class QuoteOut(BaseModel):
    """What a number of items would take and cost."""

    at: Moment
    items: int
    by: Moment | None
    at_most_usd: Usd | None
    goal: str = Field(description="Of the plan.")
    least_usd: Usd | None = Field(
        description="What would start a pod; null: `at_most_usd` does, or money is not the reason."
    )
    risk: str = Field(description="Why the goal cannot be promised; empty: it can.")
    plan: Expected
    offers: list[QuotedOffer]
    assumes: list[str] = Field(description="What it rests on, for people.")


class WhichQuote(BaseModel):
    """What is to be quoted."""

    items: int = Field(ge=1, le=MOST_ITEMS)
    by: AnyMomentIn | None = Field(None, description="Done by then.")
    at_most_usd: UsdIn | None = Field(None, description="The money that may be spent.")
    items_per_second: float | None = Field(
        None, gt=0, le=MOST_ITEMS, description="Of one pod; without it, what its pods showed."
    )


@router.get("/fleets/{name}/quote", response=QuoteOut, **needs("fleet.view_fleet"))
def quote_fleet(request: HttpRequest, name: str, asked: Query[WhichQuote]) -> QuoteOut:
    """Say what items would take and cost, before anything is rented. It takes some seconds."""
    fleet = fleet_called(name)
    try:
        found = quoting.quote_of(
            fleet,
            Asked(
                items=asked.items, by=asked.by, at_most_usd=asked.at_most_usd,
                items_per_second=asked.items_per_second,
            ),
        )  # fmt: skip
    except NoOutlook as exc:
        raise Problem(409, f"{fleet.name}: {exc}; give items_per_second of one pod") from exc
    except BadQuote as exc:
        raise Problem(409, str(exc)) from exc
    except ValueError as exc:
        raise Problem(409, f"offer_query: {exc}") from exc
    return QuoteOut(**quoting.as_json(found))
