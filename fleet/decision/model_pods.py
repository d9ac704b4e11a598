"""A model of a fleet's pods: they boot, work, end and bill as those of the recorded ticks did. Pure."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from decimal import Decimal
from itertools import cycle, islice
from statistics import median
from typing import Final

from fleet.decision.goal_facts import USUAL_BOOT
from fleet.decision.values import Decision, Goal, NewPod, OfferFacts, PodFacts, Policy, Snapshot
from pods.bottleneck import Bottleneck
from pods.price import cost_usd
from pods.states import ACTIVE, BOOTING, DRAINING, READY, STOPPED, STOPPING, TERMINATING

HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
Key = tuple[int, str]  # of an offer: its account, its key


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What the recorded ticks say of pods."""

    boot: timedelta  # the median
    rate: float | None  # items/s of a pod; None: none showed it
    rates: dict[str, float] = field(default_factory=dict)  # by GPU type
    own: dict[int, float] = field(default_factory=dict)  # by pod

    @classmethod
    def of(cls, ticks: Sequence[Snapshot]) -> "Market":
        """The speeds and boots of these ticks."""
        by_type: dict[str, list[float]] = defaultdict(list)
        by_pod: dict[int, list[float]] = defaultdict(list)
        usual: list[float] = []
        boots: list[timedelta] = []
        for seen in ticks:
            if seen.boot_time is not None:
                boots.append(seen.boot_time)
            if seen.usual_items_per_second:
                usual.append(seen.usual_items_per_second)
            for pod in seen.pods:
                if seen.depth and pod.state is READY and pod.items_per_second:
                    by_type[pod.gpu_type].append(pod.items_per_second)
                    by_pod[pod.pod_id].append(pod.items_per_second)
        shown = [rate for rates in by_type.values() for rate in rates] or usual
        return cls(
            boot=sorted(boots)[len(boots) // 2] if boots else USUAL_BOOT,
            rate=median(shown) if shown else None,
            rates={name: median(rates) for name, rates in by_type.items()},
            own={pod: median(rates) for pod, rates in by_pod.items()},
        )

    def rate_of(self, pod: PodFacts) -> float:
        """Items/s of a pod: its own, or those of its GPU type, or those of any."""
        usual = self.rates.get(pod.gpu_type, self.rate or 0.0)
        return self.own.get(pod.pod_id, usual)


@dataclass(slots=True, kw_only=True, eq=False)
class ModelPod:
    """A pod of the model. Moments are those of the recorded ticks."""

    facts: PodFacts  # as it began
    since: datetime
    ready_at: datetime
    rate: float
    leaves_at: datetime | None = None  # None: nobody asked it to end
    stops: bool = False  # its disk is kept when it leaves
    stopped_at: datetime | None = None
    # Its facts while it works, and of when they are: only its age changes, which matters little.
    working: PodFacts | None = None
    seen_at: datetime | None = None

    def works(self, now: datetime) -> bool:
        """Whether it works on items."""
        return self.ready_at <= now and self.leaves_at is None and self.stopped_at is None

    def is_known(self, now: datetime) -> bool:
        """Whether the kept facts are nearly right."""
        if self.working is None or self.seen_at is None:
            return False
        return now - self.seen_at <= max(MINUTE, (self.seen_at - self.ready_at) / 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """All that is needed to carry a model on later."""

    depth: float
    now: datetime
    today_usd: Decimal
    total_usd: Decimal
    empty_since: datetime | None
    offers: Sequence[OfferFacts]
    proven: bool
    orphans_usd: Decimal
    next_id: int
    pods: Sequence[ModelPod]
    spent_usd: Decimal
    pod_hours: float


class ModelPods:
    """The pods and the backlog of a fleet while its ticks are replayed."""

    def __init__(self, first: Snapshot, market: Market) -> None:
        """They begin as the first tick saw them."""
        self._market = market
        self._depth: float = first.depth or 0
        self._now = first.now
        self._today, self._total = first.spent_today_usd, first.spent_total_usd
        self._empty_since: datetime | None = None if first.depth else first.now
        self._offers: Sequence[OfferFacts] = ()
        self._proven = first.proven
        self._orphans_usd = first.orphans_hourly_usd
        self._next_id = -1
        self._pods = [self._began(pod, first.now) for pod in first.pods]
        self.spent_usd = Decimal(0)
        self.pod_hours = 0.0

    def kept(self) -> Kept:
        """What `again` needs to carry it on."""
        return Kept(
            depth=self._depth, now=self._now, today_usd=self._today, total_usd=self._total,
            empty_since=self._empty_since, offers=self._offers, proven=self._proven,
            orphans_usd=self._orphans_usd, next_id=self._next_id,
            pods=[replace(pod, working=None, seen_at=None) for pod in self._pods],
            spent_usd=self.spent_usd, pod_hours=self.pod_hours,
        )  # fmt: skip

    @classmethod
    def again(cls, kept: Kept, market: Market) -> "ModelPods":
        """The model as it was kept; its pods have the speeds that the market shows by now."""
        world = cls.__new__(cls)
        world._market, world._depth, world._now = market, kept.depth, kept.now
        world._today, world._total = kept.today_usd, kept.total_usd
        world._empty_since, world._offers = kept.empty_since, kept.offers
        world._proven, world._orphans_usd = kept.proven, kept.orphans_usd
        world._next_id = kept.next_id
        world._pods = [replace(pod, rate=market.rate_of(pod.facts)) for pod in kept.pods]
        world.spent_usd, world.pod_hours = kept.spent_usd, kept.pod_hours
        return world

    @property
    def depth(self) -> float:
        """Items that are left."""
        return self._depth

    @property
    def empty_since(self) -> datetime | None:
        """Since when nothing is left; None: something is."""
        return self._empty_since

    @property
    def items_per_second(self) -> float:
        """Items/s of the pods that work now."""
        return sum(p.rate for p in self._pods if p.works(self._now))

    @property
    def hourly_usd(self) -> Decimal:
        """USD/hour of the pods that are not stopped."""
        return sum((p.facts.hourly_usd for p in self._pods if p.stopped_at is None), Decimal(0))

    @property
    def today_usd(self) -> Decimal:
        """USD since the last midnight."""
        return self._today

    @property
    def stays(self) -> bool:
        """Whether a pod runs that nobody has asked to end."""
        return any(p.stopped_at is None and p.leaves_at is None for p in self._pods)

    @property
    def pods(self) -> int:
        """The pods that may bill; a stopped one bills its disk."""
        return len(self._pods)

    def _began(self, pod: PodFacts, now: datetime) -> ModelPod:
        boots = (
            timedelta(0) if pod.state is READY else max(timedelta(0), self._market.boot - pod.age)
        )
        # What was measured of it on one tick says nothing of the others.
        usual = replace(
            pod, trial=False, all_fail=None, busy=None, bottleneck=Bottleneck.UNKNOWN, rtt=None,
            batch=None, gpu_percent=None,
        )  # fmt: skip
        made = ModelPod(
            facts=usual, since=now - pod.age, ready_at=now + boots, rate=self._market.rate_of(pod)
        )
        if pod.state is STOPPED:
            made.stopped_at = now - (pod.stopped_for or timedelta(0))
        elif pod.state not in ACTIVE:
            made.leaves_at, made.stops = now, pod.state is STOPPING
        return made

    def snapshot(self, then: Snapshot, now: datetime, policy: Policy) -> Snapshot:
        """What a tick at this moment would see; what the model does not know is as it was `then`."""
        self._now, self._orphans_usd = now, then.orphans_hourly_usd
        self._go()
        depth = None if then.depth is None else round(self._depth)
        pods = tuple(self._facts(pod, policy) for pod in self._pods)
        rates = [p.items_per_second for p in pods if p.items_per_second]
        ranges = then.ranges
        if ranges is not None and then.depth and depth is not None:
            ranges = -(-ranges * depth // then.depth)
        return replace(
            then, now=now, depth=depth, pending=min(then.pending, depth or 0), pods=pods,
            offers=self._offered(then, policy), spent_today_usd=self._today,
            spent_total_usd=self._total, items_per_second=sum(rates) if rates else None,
            proven=self._proven or then.proven, ranges=ranges,
        )  # fmt: skip

    def _offered(self, then: Snapshot, policy: Policy) -> Sequence[OfferFacts]:
        """As many offers as there is room for. A full fleet records none, so the last ones count."""
        if then.offers:
            self._offers = then.offers
        elif then.no_offers_because or then.lacks:
            return ()
        if policy.goal is not Goal.DEMAND:
            return self._offers  # those of each kind, each as often as it may be rented
        room = max(0, policy.max_instances - len(self._pods) - then.orphans)
        room = min(room, policy.spawn_per_tick)  # more do not start
        return tuple(islice(cycle(self._offers), room)) if self._offers else ()

    def _facts(self, pod: ModelPod, policy: Policy) -> PodFacts:
        now = self._now
        if pod.stopped_at is not None:
            return replace(
                pod.facts, age=now - pod.since, state=STOPPED, stopped_for=now - pod.stopped_at
            )
        if pod.leaves_at is not None:
            leaving = DRAINING if pod.ready_at <= now else TERMINATING
            return replace(pod.facts, age=now - pod.since, state=leaving, items_per_second=None)
        if now < pod.ready_at:
            return replace(
                pod.facts, age=now - pod.since, state=BOOTING, items_per_second=None, ready_for=None
            )
        if self._empty_since is None and policy.max_pod_age is None and pod.is_known(now):
            return pod.working  # type: ignore[return-value]
        idle = None
        if self._empty_since is not None:
            idle = now - max(self._empty_since, pod.ready_at)
        found = replace(
            pod.facts, age=now - pod.since, state=READY, ready_for=now - pod.ready_at, idle_for=idle,
            in_flight=0 if idle is not None else policy.batch_size, items_per_second=pod.rate,
        )  # fmt: skip
        pod.working, pod.seen_at = (found, now) if idle is None else (None, None)
        return found

    def obey(self, decision: Decision, policy: Policy) -> None:
        """Start and end the pods that a decision starts and ends."""
        for start in decision.spawn:
            self._pods.append(self._born(start))
        again = {start.pod_id for start in decision.resume}
        ending = {leave.pod_id: leave.stop for leave in decision.retire}
        for pod in self._pods:
            own = pod.facts.pod_id
            if own in again and pod.stopped_at is not None:
                pod.stopped_at, pod.leaves_at, pod.working = None, None, None
                pod.ready_at = self._now + self._market.boot
            elif own in ending and pod.leaves_at is None:
                pod.leaves_at, pod.stops = self._now + policy.drain_within, ending[own]

    def _born(self, start: NewPod) -> ModelPod:
        offer = start.offer
        facts = PodFacts(
            pod_id=self._next_id, state=BOOTING, hourly_usd=offer.hourly_usd, age=timedelta(0),
            gpu_type=offer.gpu_type, gpu_count=offer.gpu_count, account_id=offer.account_id,
            stopped_hourly_usd=offer.stopped_hourly_usd, interruptible=offer.interruptible,
            million_items_usd=offer.million_items_usd, offer_key=offer.key,
        )  # fmt: skip
        self._next_id -= 1
        return ModelPod(
            facts=facts, since=self._now, ready_at=self._now + self._market.boot,
            rate=self._market.rate_of(facts),
        )  # fmt: skip

    def work(self, span: timedelta, *, arriving: float) -> None:
        """Let this time pass: items come, pods work on them and bill."""
        end = self._now + span
        self._depth += arriving
        seconds = sum(
            pod.rate * max(0.0, (end - max(self._now, pod.ready_at)).total_seconds())
            for pod in self._pods
            if pod.stopped_at is None and pod.leaves_at is None
        )
        done = min(self._depth, seconds)
        self._depth -= done
        self._proven = self._proven or done > 0
        if self._depth >= 0.5:  # a smaller rest does not count as an item
            self._empty_since = None
        elif self._empty_since is None or done >= 0.5:
            self._empty_since = end - span * (1 - done / seconds if seconds else 0)
        self._bill(end)
        self._now = end
        self._go()

    def _bill(self, end: datetime) -> None:
        """Bill until then; the spending of a day begins anew at midnight."""
        since = self._now
        while since < end:
            midnight = midnight_after(since)
            until = min(end, midnight)
            usd = self._usd(since, until)
            self.spent_usd += usd
            self._total += usd
            self._today = Decimal(0) if until == midnight else self._today + usd
            since = until

    def _usd(self, since: datetime, end: datetime) -> Decimal:
        """What this time costs."""
        usd = cost_usd(self._orphans_usd, end - since)
        for pod in self._pods:
            until = end
            if pod.leaves_at is not None and not pod.stops:
                until = min(end, max(since, pod.leaves_at))
            price = pod.facts.hourly_usd
            if pod.stopped_at is not None:
                price = pod.facts.stopped_hourly_usd
            else:
                self.pod_hours += (until - since) / HOUR
            usd += cost_usd(price, until - since)
        return usd

    def _go(self) -> None:
        """End the pods whose drain is over."""
        left = []
        for pod in self._pods:
            if pod.leaves_at is None or pod.leaves_at > self._now or pod.stopped_at is not None:
                left.append(pod)
            elif pod.stops:
                pod.stopped_at, pod.leaves_at = self._now, None
                left.append(pod)
        self._pods = left

    def next_change(self) -> datetime | None:
        """When the next pod is ready or gone; None: all stay as they are."""
        coming = [pod.ready_at for pod in self._pods if pod.ready_at > self._now]
        coming += [
            pod.leaves_at
            for pod in self._pods
            if pod.leaves_at is not None and pod.leaves_at > self._now
        ]
        return min(coming, default=None)

    def take_away(self, taken: Callable[[PodFacts], bool]) -> float:
        """The vendor takes the pods of which this is true; how many of them were to go on."""
        gone = [p for p in self._pods if p.stopped_at is None and taken(p.facts)]
        self._pods = [p for p in self._pods if p not in gone] if gone else self._pods
        return sum(p.leaves_at is None for p in gone)

    def lose(self, taken: Iterable[PodFacts]) -> None:
        """The vendor takes these pods, and with them those of the model on the same offers."""
        gone = list(taken)
        own, keys = {pod.pod_id for pod in gone}, {_key(pod) for pod in gone}
        self._pods = [p for p in self._pods if not _is_taken(p.facts, own, keys)]


def midnight_after(at: datetime) -> datetime:
    """When the next day begins, in the zone of that moment."""
    return datetime.combine(at.date() + timedelta(days=1), time(0), tzinfo=at.tzinfo)


def _is_taken(pod: PodFacts, own: Collection[int], keys: Collection[Key]) -> bool:
    return pod.pod_id in own or (pod.pod_id < 0 and pod.interruptible and _key(pod) in keys)


def _key(pod: PodFacts) -> Key:
    return pod.account_id, pod.offer_key


def lost_between(before: Snapshot, after: Snapshot) -> list[PodFacts]:
    """The interruptible pods that worked, and that the next tick did not find any more."""
    there = {pod.pod_id for pod in after.pods}
    return [
        pod
        for pod in before.pods
        if pod.interruptible and pod.state in {READY, BOOTING} and pod.pod_id not in there
    ]
