"""What items would take and cost before anything is rented, by the plan and on each offer. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_UP, Decimal
from typing import Final

from fleet.decision.decide import decide
from fleet.decision.outlook import Outlook, outlook, replays_for
from fleet.decision.spells import History, OfferKind, kind_of
from fleet.decision.values import Goal, Mode, OfferFacts, PodFacts, Policy, Snapshot
from pods.price import HOUR_SECONDS, MILLION, usd_per_million

MOST_LINES: Final = 6
MOST_USD: Final = Decimal(10**6)
CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be quoted."""

    items: int
    by: datetime | None = None
    at_most_usd: Decimal | None = None
    items_per_second: float | None = None  # of one pod; None: as it was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One type of offers alone, on all places of the fleet."""

    offer: OfferFacts  # the cheapest of its type
    items_per_second: float | None
    expected: Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What the plan takes, and what each type of offers would take alone, the cheapest first."""

    asked: Asked
    goal: Goal
    plan: Outlook
    lines: Sequence[Line]
    risk: str  # why the goal cannot be promised, and what would help; "": it can
    spent_from_usd: Decimal  # what the fleet had spent before
    # What would start a pod; None: the money that is asked for does, or money is not the reason.
    least_usd: Decimal | None = None


def quote(seen: Snapshot, policy: Policy, history: History, asked: Asked) -> Quote:
    """The quote for a fleet that has no pod and no other items.

    Raises:
        NoOutlook: no speed is known, or nothing may start.
    """
    runs = replace(
        policy, mode=Mode.RUNNING, installation_mode=Mode.RUNNING, override=None, sample=None
    )
    empty, rules = with_only(seen, asked), _rules(seen, runs, asked)
    plan = outlook(empty, rules, history)
    return Quote(
        asked=asked,
        goal=rules.goal,
        plan=plan,
        lines=_lines(empty, runs, history),
        risk=decide(empty, rules).risk,
        spent_from_usd=seen.spent_total_usd,
        least_usd=None if plan.pods else _least(empty, runs, asked),
    )


def _least(empty: Snapshot, policy: Policy, asked: Asked) -> Decimal | None:
    """The least money with which the fleet starts a pod, to the cent; None: no sum does."""
    if asked.at_most_usd is None:
        return None

    def starts(usd: Decimal) -> bool:
        rules = _rules(empty, policy, replace(asked, at_most_usd=usd))
        return bool(decide(empty, rules).spawn)

    low, high = asked.at_most_usd, 2 * asked.at_most_usd
    while not starts(high):
        low, high = high, 2 * high
        if high > MOST_USD:
            return None
    while high - low > CENT:
        middle = (low + high) / 2
        low, high = (low, middle) if starts(middle) else (middle, high)
    return high.quantize(CENT, ROUND_UP)


def without_pods(seen: Snapshot, history: History) -> tuple[Snapshot, History]:
    """The offers as they would be without the fleet's pods: what these hold could be rented too."""
    listed = {kind_of(offer)._replace(region="") for offer in seen.offers if not offer.host}
    keys = {(offer.account_id, offer.key) for offer in seen.offers}
    absent = {kind_of(offer)._replace(region=""): offer for offer in history.absent}
    held: dict[tuple[int, str], OfferFacts] = {}
    found: list[OfferFacts] = []
    for pod in seen.pods:
        key = pod.account_id, pod.offer_key
        kind = OfferKind(pod.account_id, pod.gpu_type, pod.gpu_count, "", pod.interruptible)
        if not pod.offer_key or key in keys or kind in listed:
            continue
        region = absent[kind].region if kind in absent else ""
        found.append(held.setdefault(key, _held_by(pod, region)))
    if not found:
        return seen, history
    offers = sorted((*seen.offers, *found), key=lambda o: (not o.interruptible, _cost(o)))
    there = {kind_of(offer) for offer in found}
    still = tuple(offer for offer in history.absent if kind_of(offer) not in there)
    return replace(seen, offers=tuple(offers), no_offers_because="", lacks=()), replace(
        history, absent=still
    )


def _held_by(pod: PodFacts, region: str) -> OfferFacts:
    return OfferFacts(
        account_id=pod.account_id, key=pod.offer_key, hourly_usd=pod.hourly_usd,
        gpu_type=pod.gpu_type, gpu_count=pod.gpu_count, region=region,
        interruptible=pod.interruptible, stopped_hourly_usd=pod.stopped_hourly_usd,
        million_items_usd=pod.million_items_usd,
    )  # fmt: skip


def with_only(seen: Snapshot, asked: Asked) -> Snapshot:
    """The fleet without pods, and with these items alone."""
    offers = seen.offers
    if asked.items_per_second is not None:
        rate = asked.items_per_second
        # An offer that is shown several times stays one value: the plan counts on that.
        same = {id(o): _priced(o, rate) for o in offers}
        offers = tuple(same[id(o)] for o in offers)
    return replace(
        seen, depth=asked.items, pending=0, pods=(), orphans=0, orphans_hourly_usd=Decimal(0),
        offers=offers, items_per_second=None, waiting_for=None, failing=None, ranges=None,
        rows_failed=None, arrivals_per_second=None, rate_spread=None, all_fail_because="",
        usual_items_per_second=asked.items_per_second or seen.usual_items_per_second,
    )  # fmt: skip


def _priced(offer: OfferFacts, rate: float) -> OfferFacts:
    return replace(offer, million_items_usd=usd_per_million(offer.hourly_usd, rate))


def _rules(seen: Snapshot, policy: Policy, asked: Asked) -> Policy:
    """The fleet's settings, with the deadline and the money that are asked for."""
    if asked.by is not None:
        rules = replace(policy, goal=Goal.DEADLINE, drain_by=asked.by)
        if asked.at_most_usd is not None:
            limits = [seen.spent_total_usd + asked.at_most_usd, policy.total_budget_usd]
            least = min(limit for limit in limits if limit is not None)
            return replace(rules, total_budget_usd=least)
        return rules
    if asked.at_most_usd is not None:
        return replace(
            policy, goal=Goal.BUDGET, budget_usd=asked.at_most_usd,
            budget_from_usd=seen.spent_total_usd,
        )  # fmt: skip
    return policy


def _lines(empty: Snapshot, policy: Policy, history: History) -> Sequence[Line]:
    """Each type of offers alone, on all places: without the deadline and the money that are asked.

    Half as many replays as for the plan: they are for comparison.
    """
    types: dict[OfferKind, list[OfferFacts]] = {}
    for offer in empty.offers:
        types.setdefault(kind_of(offer), []).append(offer)
    alone = replace(policy, goal=Goal.CHEAPEST, drain_by=None, budget_usd=None, min_instances=0)
    found = []
    cheapest = sorted(types.items(), key=lambda pair: _cost(pair[1][0]))
    for kind, offers in cheapest[:MOST_LINES]:
        only = replace(
            empty, offers=tuple(offers),
            spot_hourly_usd=offers[0].hourly_usd if kind.interruptible else None,
        )  # fmt: skip
        known = replace(
            history, absent=(), stretches={k: s for k, s in history.stretches.items() if k == kind}
        )
        expected = outlook(only, alone, known, replays=replays_for(policy) // 2)
        found.append(
            Line(offer=offers[0], items_per_second=_rate(offers[0], empty), expected=expected)
        )
    return found


def _cost(offer: OfferFacts) -> Decimal:
    return offer.hourly_usd if offer.million_items_usd is None else offer.million_items_usd


def _rate(offer: OfferFacts, seen: Snapshot) -> float | None:
    """Items/s of a pod on it, as the price of its items says."""
    if not offer.million_items_usd:
        return seen.usual_items_per_second
    return float(offer.hourly_usd / offer.million_items_usd) * MILLION / HOUR_SECONDS
