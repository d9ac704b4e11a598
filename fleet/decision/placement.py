"""Which offers fit, which are avoided for a while, and which is best. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from statistics import median
from typing import Final

from fleet.decision.sentence import hours_text, seconds_text
from fleet.decision.values import OfferFacts, Wanted
from pods.amounts import unit_price, usd
from pods.catalogue import gpus, regions
from pods.price import usd_per_million

Kind = tuple[str, int]  # GPU type and count: the speed of a pod depends on them

# An offer is avoided for one half-life after one failure, for two after two at once, for three after
# four. A refusal is soon forgotten, since stock comes back in minutes. A bad machine is not: a boot
# takes up to its deadline to fail again, and each burst would begin with the same host.
HALF_LIFE: Final = timedelta(minutes=5)
BOOTS_REMEMBERED: Final = 4  # boot deadlines; the half-life of a bad machine
BOOT_DEADLINE: Final = timedelta(minutes=15)  # the least that counts
AVOIDED_FROM: Final = 0.5
# If an offer stands for many machines, one bad machine says little; after two, other offers go first.
ONE_OF_MANY: Final = 0.49
# An interruptible offer that was taken away more often than this within the window is avoided.
LOSSES: Final = 2
LOSS_WINDOW: Final = timedelta(hours=1)
REMEMBERED: Final = timedelta(hours=2)
BROKEN_REMEMBERED: Final = timedelta(hours=24)

# The share of the pods that may run on GPUs whose speed for this fleet is not known: one in five, which
# a fleet can lose without being late. Such a pod does not start if, at the median of the measured
# speeds, its items would cost more than twice as much as on the best offer.
EXPLORING: Final = 0.2
DEAREST_TRIAL: Final = 2


class Trouble(StrEnum):
    """How an offer failed."""

    REFUSED = "refused"  # the vendor gave no machine
    BROKEN = (
        "broken"  # the machine was useless: it never booted, hung, went silent or was very slow
    )
    LOST = "lost"  # preempted or outbid
    GAVE_UP = "its agent gave up"  # the work may be at fault, or the host's driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A pod that failed, and how long ago."""

    trouble: Trouble
    account_id: int
    key: str
    ago: timedelta
    host: str = ""
    boot_deadline: timedelta = BOOT_DEADLINE  # of that pod

    @property
    def half_life(self) -> timedelta:
        """After which time it counts half as much."""
        if self.trouble in {Trouble.REFUSED, Trouble.LOST}:
            return HALF_LIFE
        return BOOTS_REMEMBERED * max(self.boot_deadline, BOOT_DEADLINE)

    @property
    def remembered(self) -> timedelta:
        """After which time it does not count."""
        if self.trouble in {Trouble.REFUSED, Trouble.LOST}:
            return REMEMBERED
        return max(BROKEN_REMEMBERED, 4 * self.half_life)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What a fleet has learned about the offers."""

    speeds: Mapping[Kind, float]  # items/s of a pod, measured in this fleet
    proven: frozenset[Kind] = frozenset()  # kinds that have acknowledged an item in this fleet
    running: Mapping[Kind, int] | None = None  # pods that work or will work
    failures: Sequence[Failure] = ()

    @property
    def usual_speed(self) -> float | None:
        """The assumed speed of a GPU that was never measured: the median of the measured ones."""
        return median(self.speeds.values()) if self.speeds else None

    def speed(self, kind: Kind) -> float | None:
        """Items/s of a pod of this kind; the usual speed if it was never measured."""
        return self.speeds.get(kind) or self.usual_speed


NOTHING_KNOWN: Final = Experience(speeds={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """An offer with the cost of its items, or the reason why it is not rented now."""

    offer: OfferFacts
    measured: bool
    refused: str = ""  # "": it can be rented
    doubtful: bool = False  # others go first
    broken_for: timedelta | None = None  # since its host's last bad machine; None: not so refused

    @property
    def cost(self) -> Decimal:
        """The cost for comparisons: USD per million items, or USD/hour if no speed is known at all."""
        if self.offer.million_items_usd is None:
            return self.offer.hourly_usd
        return self.offer.million_items_usd


def kind_of(offer: OfferFacts) -> Kind:
    """The kind of pod on this offer; its speed depends on it."""
    return offer.gpu_type, offer.gpu_count


def fits(offer: OfferFacts, wanted: Wanted) -> bool:
    """Whether the fleet accepts an offer; the provider's own filters are not trusted."""
    return all(
        (
            not wanted.gpu_types
            or any(gpus.means(w, offer.gpu_type, offer.vram_gb) for w in wanted.gpu_types),
            wanted.gpu_count <= 1 or offer.gpu_count == wanted.gpu_count,
            not wanted.regions or any(regions.within(offer.region, w) for w in wanted.regions),
            offer.largest_disk_gb is None or offer.largest_disk_gb >= wanted.disk_gb,
            wanted.min_vram_gb is None or (offer.vram_gb or 0) >= wanted.min_vram_gb,
            wanted.max_hourly_usd is None or offer.hourly_usd <= wanted.max_hourly_usd,
            wanted.min_reliability is None or (offer.reliability or 0) >= wanted.min_reliability,
            wanted.interruptible is None or offer.interruptible == wanted.interruptible,
            wanted.min_remaining is None
            or offer.remaining is None
            or offer.remaining >= wanted.min_remaining,
        )
    )


def avoided(offer: OfferFacts, failures: Iterable[Failure]) -> str:
    """Why the offer is avoided for a while; empty if it is not."""
    same, here, lost = [], [], []
    for failure in failures:
        hosted = bool(offer.host) and failure.host == offer.host
        its_own = (failure.account_id, failure.key) == (offer.account_id, offer.key)
        if failure.trouble is Trouble.LOST:
            if offer.interruptible and (hosted or its_own):
                lost.append(failure)
        elif its_own:
            same.append(failure)
        elif hosted and failure.trouble is Trouble.BROKEN:
            here.append(failure)
    # By host too: at Vast.ai the key of an offer ends when somebody rents it.
    losses = [f for f in lost if f.ago < LOSS_WINDOW]
    if len(losses) > LOSSES:
        return f"taken away {len(losses)} times within {hours_text(LOSS_WINDOW)}"
    told = [
        f
        for f in (*same, *here)
        if f.trouble is Trouble.REFUSED or (f.trouble is Trouble.BROKEN and offer.host)
    ]
    if sum(map(_weight, told)) < AVOIDED_FROM:
        return ""
    newest = min(told, key=lambda f: f.ago)
    return f"{newest.trouble.value} {seconds_text(newest.ago)} ago"


def _broken_for(offer: OfferFacts, failures: Iterable[Failure]) -> timedelta | None:
    """Since when its host has had no bad machine, if only that can be held against the offer."""
    on_host = [f for f in failures if f.trouble is Trouble.BROKEN and _there(f, offer)]
    others = [f for f in failures if f not in on_host]
    if not on_host or avoided(offer, others):
        return None
    newest = min(on_host, key=lambda f: f.ago)
    return newest.ago if newest.ago >= newest.boot_deadline else None


def _there(failure: Failure, offer: OfferFacts) -> bool:
    """Whether it was on the offer, or on its host."""
    its_own = (failure.account_id, failure.key) == (offer.account_id, offer.key)
    return its_own or (bool(offer.host) and failure.host == offer.host)


def doubtful(offer: OfferFacts, failures: Iterable[Failure]) -> bool:
    """Whether others go first: its agents gave up lately, or of its many machines some were bad."""
    share = 1.0 if offer.host else ONE_OF_MANY
    counted = {Trouble.GAVE_UP} if offer.host else {Trouble.GAVE_UP, Trouble.BROKEN}
    bad = sum(_weight(f) * share for f in failures if f.trouble in counted and _there(f, offer))
    return bad >= AVOIDED_FROM


def _weight(failure: Failure) -> float:
    return 0.5 ** (failure.ago / failure.half_life) if failure.ago < failure.remembered else 0.0


def weigh(
    offers: Sequence[OfferFacts], wanted: Wanted, known: Experience = NOTHING_KNOWN
) -> list[Weighed]:
    """Every offer that fits, the cheapest per item first; avoided ones are marked in `refused`."""
    weighed = [_weighed(offer, known) for offer in offers if fits(offer, wanted)]
    return sorted(weighed, key=_place)


def _place(weighed: Weighed) -> tuple[bool, Decimal, Decimal, int, str]:
    offer = weighed.offer
    return weighed.doubtful, weighed.cost, offer.hourly_usd, offer.account_id, offer.key


def _weighed(offer: OfferFacts, known: Experience) -> Weighed:
    kind = kind_of(offer)
    cost = usd_per_million(offer.hourly_usd, known.speed(kind))
    why = avoided(offer, known.failures)
    tried = _canary(kind, known) and (known.running or {}).get(kind)
    broken_for = _broken_for(offer, known.failures) if why and not tried else None
    if not why and tried:
        why = f"the first pod on {offer.gpu_type} has not acknowledged an item yet"
    return Weighed(
        offer=replace(offer, million_items_usd=cost),
        measured=kind in known.speeds,
        refused=why,
        doubtful=doubtful(offer, known.failures),
        broken_for=broken_for,
    )


def _canary(kind: Kind, known: Experience) -> bool:
    """Whether this kind gets only one pod. An offer without a GPU's name has no kind to test."""
    return bool(kind[0]) and kind not in known.proven


def rank(
    offers: Sequence[OfferFacts],
    wanted: Wanted,
    known: Experience = NOTHING_KNOWN,
    *,
    room: int,
) -> tuple[OfferFacts, ...]:
    """The offers to rent, the best first, each as often as it may be rented; at most `room`.

    An offer without a host stands for many machines, an offer with a host for one machine. A kind
    of GPU that has not acknowledged an item yet gets one pod. If all hosts had bad machines, the one
    whose last was the longest ago gets one pod.
    """
    weighed = weigh(offers, wanted, known)
    free = [w for w in weighed if not w.refused] or _second_chance(weighed)
    measured = [w for w in free if w.measured]
    trials = _trials(free, measured, known, room=room) if measured else []
    order = [*trials, *measured] if measured else free
    ranked: list[OfferFacts] = []
    once: set[Kind] = set()
    for place in order:
        kind = kind_of(place.offer)
        if _canary(kind, known):
            if kind in once:
                continue
            once.add(kind)
        alone = place.offer.host or _canary(kind, known) or place in trials
        chosen = replace(place.offer, because=_because(place, known, count=len(free)))
        ranked += [chosen] * (1 if alone else room)
        if len(ranked) >= room:
            break
    return tuple(ranked[:room])


def _second_chance(weighed: Sequence[Weighed]) -> list[Weighed]:
    waited = [(w.broken_for, w) for w in weighed if w.broken_for is not None]
    return [max(waited, key=lambda pair: pair[0])[1]] if waited else []


def _trials(
    free: Sequence[Weighed], measured: Sequence[Weighed], known: Experience, *, room: int
) -> list[Weighed]:
    """The unmeasured offers that may go first: a limited share of the pods, and none too dear."""
    best = measured[0].cost
    running = known.running or {}
    trying = sum(count for kind, count in running.items() if kind not in known.speeds)
    new = [w for w in free if not w.measured and w.cost <= best * DEAREST_TRIAL]
    allowed = int(EXPLORING * (sum(running.values()) + room))
    if new and new[0].cost < best:
        allowed = max(1, allowed)  # it may be cheaper than the best known offer
    return new[: max(0, allowed - trying)]


def _because(place: Weighed, known: Experience, *, count: int) -> str:
    offer = place.offer
    price = f"{offer.gpu_type or 'a machine'} at {usd(offer.hourly_usd)}/h"
    if offer.million_items_usd is None:
        return f"{price}, the cheapest of {count}; no speed is measured yet"
    cost = f"{unit_price(offer.million_items_usd)} per million items"
    if place.measured:
        return f"{price} and {known.speeds[kind_of(offer)]:.1f} items/s: {cost}, best of {count}"
    return f"{price}, a trial: its speed is not measured yet, {cost} if it is as fast as the others"
