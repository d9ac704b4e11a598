"""The offers of one replay: which can be rented when, and when the vendor takes pods away. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from fleet.decision.spells import (
    USUAL_UP,
    History,
    OfferKind,
    Spell,
    drawn,
    ends_an_hour,
    kind_of,
)
from fleet.decision.values import Goal, OfferFacts, PodFacts, Policy, Snapshot

HOUR: Final = timedelta(hours=1)
# An offer that has stood for less than that has just come.
JUST_NOW: Final = timedelta(minutes=2)
SETTLED: Final = timedelta(hours=1)
# Of each kind, as a tick of a fleet with a goal sees them.
MOST_PLACES: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What a fleet could rent now or later, and what is known of when. The same for all replays."""

    seen: Snapshot
    offers: Mapping[OfferKind, Sequence[OfferFacts]]  # best first
    up: frozenset[OfferKind]  # those that stand now
    new: frozenset[OfferKind]  # those of them that have just come
    history: History
    taken: float  # the share of the ends of offers that take the fleet's pods with them

    @classmethod
    def of(cls, seen: Snapshot, policy: Policy, history: History) -> "Stock":
        """From the offers of a snapshot, and those that stood in the last days."""
        offers: dict[OfferKind, list[OfferFacts]] = {}
        for offer in seen.offers:
            offers.setdefault(kind_of(offer), []).append(offer)
        up = frozenset(offers)
        places = max(1, min(policy.max_instances, MOST_PLACES))
        for offer in history.absent:
            offers.setdefault(kind_of(offer), [offer] * places)
        new = {
            kind
            for kind, found in offers.items()
            if found[0].stood_for is not None and found[0].stood_for < JUST_NOW
        }
        return cls(
            seen=seen, offers=offers, up=up, new=frozenset(new & up), history=history,
            taken=_taken(seen, history),
        )  # fmt: skip

    def kind_of_pod(self, pod: PodFacts) -> OfferKind | None:
        """The type of offers on which a pod runs; None: none of these."""
        for kind, found in self.offers.items():
            if kind.account_id == pod.account_id and any(o.key == pod.offer_key for o in found):
                return kind
        alike = (pod.account_id, pod.gpu_type, pod.gpu_count, pod.interruptible)
        for kind in self.offers:
            if (kind.account_id, kind.gpu_type, kind.gpu_count, kind.interruptible) == alike:
                return kind
        return None


def _taken(seen: Snapshot, history: History) -> float:
    """Of so many ends of interruptible offers, how many took the fleet's pods with them.

    A vendor may show a type as sold out and leave its pods alone. Without any experience all ends
    count: then nobody is surprised.
    """
    rates = [
        rate
        for kind, stretches in history.stretches.items()
        if kind.interruptible and (rate := ends_an_hour(stretches)) is not None
    ]
    if not rates:
        return 1.0
    return min(1.0, (1 + seen.spot_lost) / (1 + seen.spot_hours * sum(rates) / len(rates)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to offers of a type at a moment."""

    at: datetime
    kind: OfferKind
    up: bool
    takes: bool = False  # the vendor takes the pods on them away


@dataclass(slots=True, kw_only=True)
class Supply:
    """The offers of one replay. `then`: what a tick would see besides the pods."""

    stock: Stock
    changes: list[Change]  # the next one last
    policy: Policy
    _up: set[OfferKind] = field(default_factory=set)
    _settled: set[OfferKind] = field(default_factory=set)
    _since: dict[OfferKind, datetime] = field(default_factory=dict)
    _kept: dict[tuple[frozenset[OfferKind], frozenset[OfferKind]], Snapshot] = field(
        default_factory=dict
    )

    @classmethod
    def drawn(
        cls, stock: Stock, policy: Policy, *, until: datetime, recorded: bool, draw: Random
    ) -> "Supply":
        """Draw when the offers come and go until a moment."""
        now = stock.seen.now
        changes: list[Change] = []
        for kind in stock.offers:
            changes += _changes(stock, kind, until=until, recorded=recorded, draw=draw)
        changes.sort(key=lambda change: change.at, reverse=True)
        supply = cls(stock=stock, changes=changes, policy=policy, _up=set(stock.up))
        for kind in stock.up:
            supply._since[kind] = now - (stock.offers[kind][0].stood_for or timedelta(0))
        return supply

    @classmethod
    def recorded(
        cls, stock: Stock, policy: Policy, changes: list[Change], *, up: frozenset[OfferKind]
    ) -> "Supply":
        """Offers that come and go as it was recorded; `up`: those that stand at the beginning."""
        supply = cls(stock=stock, changes=changes, policy=policy, _up=set(up))
        supply._since = dict.fromkeys(up, stock.seen.now - SETTLED)
        return supply

    @property
    def next_at(self) -> datetime | None:
        """When the next change comes; None: there is none."""
        return self.changes[-1].at if self.changes else None

    def pop(self) -> Change:
        """Let the next change happen."""
        change = self.changes.pop()
        if change.up:
            if change.kind not in self._up:
                self._since[change.kind] = change.at
            self._up.add(change.kind)
        else:
            self._up.discard(change.kind)
        return change

    def then(self, now: datetime) -> Snapshot:
        """What a tick would see besides the pods of the model."""
        settled = frozenset(k for k in self._up if now - self._since[k] >= SETTLED)
        state = (frozenset(self._up), settled)
        if state not in self._kept:
            self._kept[state] = self._made(*state)
        return self._kept[state]

    def _made(self, up: frozenset[OfferKind], settled: frozenset[OfferKind]) -> Snapshot:
        found: list[OfferFacts] = []
        for kind, offers in self.stock.offers.items():
            if kind in up:
                stood = SETTLED if kind in settled else timedelta(0)
                # An offer that is shown several times stays one value: the plan counts on that.
                same = {id(o): replace(o, stood_for=stood) for o in offers}
                found += [same[id(o)] for o in offers]
        if self.policy.goal is Goal.DEMAND:
            found.sort(key=lambda o: (o.million_items_usd or o.hourly_usd, o.interruptible))
        return replace(
            self.stock.seen, offers=tuple(found), lacks=(),
            no_offers_because="" if found else "nothing is offered",
        )  # fmt: skip


def _changes(
    stock: Stock, kind: OfferKind, *, until: datetime, recorded: bool, draw: Random
) -> Iterator[Change]:
    """When offers of a type come and go. Offers on demand stay, unless it is recorded that they went."""
    stretches = stock.history.stretches.get(kind, ())
    up = kind in stock.up
    if not kind.interruptible and up and not (recorded and ends_an_hour(stretches)):
        return
    if not kind.interruptible and not up and not recorded:
        return
    at = stock.seen.now
    spells: Iterator[Spell] = drawn(
        stretches, up=up, new=kind in stock.new, recorded=recorded, draw=draw
    )
    for spell in spells:
        if spell.up != up:
            up = spell.up
            takes = not up and kind.interruptible and draw.random() < stock.taken
            yield Change(at=at, kind=kind, up=up, takes=takes)
        at += timedelta(hours=spell.hours)
        if at >= until:
            return


def life(draw: Random) -> timedelta:
    """How long an interruptible pod runs on, if nobody knows anything of its offer."""
    [whole] = draw.choices(USUAL_UP, USUAL_UP)
    return timedelta(hours=whole * draw.random() * draw.lognormvariate(0, 0.7))
