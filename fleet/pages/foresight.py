"""What the next tick would do with a fleet's settings, and what they may cost, in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from fleet.decision import forecast
from fleet.decision.field_words import RULES
from fleet.decision.values import Rule
from fleet.pages import remedies, words
from fleet.tick.ticking import Preview
from pods.base.words import NO_LIMIT
from pods.plural import plural

# Rules whose names need no reason behind them.
SAYS_ALL: Final = frozenset({Rule.CANARY, Rule.PAUSED, Rule.STOP_ALL})
NO_PRICE: Final[Mapping[bool | None, str]] = {
    False: "Its accounts cost nothing.",
    None: "No account is chosen, so no pod can start. Choose one under Rent from.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """The sentences beside the form of a fleet."""

    does: str  # "starts 2 pods now"
    more: str  # " and holds at 3 of 56 wanted: "
    rule: str  # what holds it: "Max pods"
    field: str  # the field of that rule; "": no field lifts it
    because: str  # more about it, where its name does not say all
    items: str
    worst: str


def told(
    preview: Preview, *, paid: bool | None, top_price_usd: Decimal | None, at: datetime
) -> Foresight:
    """The sentences; `at`: the time of the preview in the reader's zone.

    `paid`: whether one of its accounts has a price; None: it has no account.
    """
    return Foresight(
        does=_does(preview),
        more=_more(preview),
        **_held(preview),
        items=_items(preview, at),
        worst=_worst(preview, top_price_usd) if paid else NO_PRICE[paid],
    )


def _does(preview: Preview) -> str:
    decision = preview.decision
    counts = (
        ("starts", len(decision.spawn)),
        ("resumes", len(decision.resume)),
        ("ends", len(decision.retire)),
    )
    done = [f"{verb} {plural(count, 'pod')}" for verb, count in counts if count]
    return f"{' and '.join(done)} now" if done else "starts and ends no pod"


def _more(preview: Preview) -> str:
    decision = preview.decision
    wish = decision.steps[0]
    if wish.rule is Rule.UNKNOWN:
        return f". {words.unknown(wish.because.rstrip('.'))}"
    if decision.binding is None:
        return f", for {plural(decision.target, 'pod')}"
    wanted = max(step.before for step in decision.steps[1:])
    return f" and holds at {decision.target} of {wanted} wanted: "


def _held(preview: Preview) -> dict[str, str]:
    """The rule that holds the fleet below its wish, for people."""
    rule = preview.decision.binding
    if rule is None:
        return {"rule": "", "field": "", "because": ""}
    field = remedies.FIELDS.get(rule, "")
    because = (
        ""
        if (field and rule is not Rule.NO_OFFERS) or rule in SAYS_ALL
        else f" ({preview.decision.because})"
    )
    return {"rule": RULES[rule], "field": field, "because": because}


def _items(preview: Preview, at: datetime) -> str:
    depth = preview.seen.depth
    if depth is None:
        return "When its items are done is not known."
    if not depth:
        return f"0 items: {preview.note}." if preview.note else "No item waits."
    waiting = f"{words.items(depth)} {'item' if depth == 1 else 'items'}"
    wait = "waits" if depth == 1 else "wait"
    if not preview.decision.target:
        return f"{waiting} {wait}, and no pod works."
    done = forecast.done(preview.seen, preview.decision)
    if done is None:
        return f"{waiting} {wait}. No pod has shown yet how fast it works."
    when = words.when(at + done.left, at)
    clock = f"{at + done.left:%H:%M} ({when})" if when.startswith("in ") else when
    return f"{waiting} done about {clock}, for about {words.usd(done.cost_usd)}."


def _worst(preview: Preview, top_price_usd: Decimal | None) -> str:
    worst = forecast.worst(preview.policy, top_price_usd=top_price_usd)
    if worst.hourly_usd is None and worst.daily_usd is None:
        return "No limit stops its spending."
    hour = NO_LIMIT if worst.hourly_usd is None else f"{words.usd(worst.hourly_usd)}/h"
    day = NO_LIMIT if worst.daily_usd is None else words.usd(worst.daily_usd)
    return f"At worst {hour} and {day} a day."
