"""A fleet of the product on a recorded market: its snapshots, and what its decisions do there."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from benchmarks.spot.recordings import FIRM_USD, Episode
from benchmarks.spot.world import (
    BOOT_MINUTES,
    LONGEST_BOOT_MINUTES,
    PER_MINUTE,
    PODS,
    Acts,
    SpotPod,
    World,
)
from fleet.decision.decide import decide
from fleet.decision.values import Goal, OfferFacts, PodFacts, Policy, Snapshot
from pods.states import BOOTING, DRAINING, READY

BEGAN: Final = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
RATE: Final = 10.0  # items/s of a pod
ITEMS: Final = RATE * 3600  # of a pod-hour
HOURLY_USD: Final = Decimal(str(FIRM_USD)) * PODS
ONE_HOUR: Final = timedelta(hours=1)


def by_deadline(deadline_minutes: int) -> Acts:
    """The product's fleet with the goal `deadline`."""
    return _acts(goal=Goal.DEADLINE, drain_by=BEGAN + timedelta(minutes=deadline_minutes))


def within_budget(budget_usd: float) -> Acts:
    """The product's fleet with the goal `budget`."""
    return _acts(goal=Goal.BUDGET, budget_usd=Decimal(str(round(budget_usd, 2))))


def policy_of(
    goal: Goal, *, drain_by: datetime | None = None, budget_usd: Decimal | None = None
) -> Policy:
    """A fleet that is ticked once in a minute, with limits that hold exactly its pods."""
    return Policy(
        target_depth_per_pod=1000,
        max_instances=PODS,
        spawn_per_tick=PER_MINUTE,
        tick=timedelta(minutes=1),
        drain_within=timedelta(minutes=1),
        max_hourly_usd=HOURLY_USD,
        goal=goal,
        drain_by=drain_by,
        budget_usd=budget_usd,
    )


def _acts(
    goal: Goal, *, drain_by: datetime | None = None, budget_usd: Decimal | None = None
) -> Acts:
    policy = policy_of(goal, drain_by=drain_by, budget_usd=budget_usd)
    facts = _Facts()

    def act(world: World) -> None:
        decision = decide(facts.snapshot(world), policy)
        leaving = {r.pod_id for r in decision.retire}
        for pod in world.pods:
            if pod.number in leaving:
                world.drain(pod)
        for start in decision.spawn:
            world.start(int(start.offer.key))
        hourly = sum(world.price(p.zone) for p in world.pods)
        if len(world.pods) > PODS or Decimal(str(round(hourly, 6))) > HOURLY_USD:
            raise AssertionError(f"a guardrail was passed: {len(world.pods)} pods, {hourly} USD/h")

    return act


def facts_at_start(episode: Episode) -> Snapshot:
    """What the first tick of an episode sees."""
    world = World(episode=episode, left=episode.hours * PODS)
    world.look()
    return _Facts().snapshot(world)


class _Facts:
    """The facts of a world; what has not changed is not made again."""

    def __init__(self) -> None:
        self._ready: dict[int, PodFacts] = {}
        self._offers: dict[tuple[int, ...], tuple[OfferFacts, ...]] = {}

    def snapshot(self, world: World) -> Snapshot:
        """What a tick would see in this minute."""
        pods = tuple(map(self._pod(world), world.pods))
        ready = sum(p.state is READY for p in pods)
        return Snapshot(
            now=BEGAN + timedelta(minutes=world.minute),
            depth=max(1, round(world.left * ITEMS)),
            pods=pods,
            offers=self._offered(world),
            spent_today_usd=Decimal(0),
            spent_total_usd=Decimal(str(round(world.cost, 6))),
            items_per_second=RATE * ready or None,
            boot_time=timedelta(minutes=BOOT_MINUTES),
            boot_bound=timedelta(minutes=LONGEST_BOOT_MINUTES),
            usual_items_per_second=RATE,
            spot_lost=world.lost,
            spot_hours=world.spot_hours,
            spot_hourly_usd=Decimal(str(min(world.episode.prices))),
        )

    def _pod(self, world: World):  # type: ignore[no-untyped-def]
        def facts(pod: SpotPod) -> PodFacts:
            if not pod.leaving and not pod.boot_left:
                if pod.number not in self._ready:
                    self._ready[pod.number] = self._made(world, pod)
                return self._ready[pod.number]
            return self._made(world, pod)

        return facts

    def _made(self, world: World, pod: SpotPod) -> PodFacts:
        ready = not pod.leaving and not pod.boot_left
        return PodFacts(
            pod_id=pod.number,
            state=DRAINING if pod.leaving else READY if ready else BOOTING,
            hourly_usd=Decimal(str(round(world.price(pod.zone), 6))),
            age=timedelta(minutes=pod.boot - (0 if pod.leaving else pod.boot_left)),
            in_flight=4 if ready else None,
            items_per_second=RATE if ready else None,
            ready_for=ONE_HOUR if ready else None,
            interruptible=pod.zone >= 0,
            offer_key=str(pod.zone),
        )

    def _offered(self, world: World) -> tuple[OfferFacts, ...]:
        state = tuple(
            0 if not up else 2 if since >= 60 else 1
            for up, since in zip(world.up, world.since, strict=True)
        )
        if state not in self._offers:
            order = sorted((zone for zone, is_up in enumerate(state) if is_up), key=world.price)
            offers = [_offer(world, zone, settled=state[zone] == 2) for zone in order]
            offers.append(_offer(world, -1, settled=True))
            self._offers[state] = tuple(o for offer in offers for o in (offer,) * PODS)
        return self._offers[state]


def _offer(world: World, zone: int, *, settled: bool) -> OfferFacts:
    return OfferFacts(
        account_id=0,
        key=str(zone),
        region=world.episode.zones[zone] if zone >= 0 else "",
        hourly_usd=Decimal(str(round(world.price(zone), 6))),
        interruptible=zone >= 0,
        stood_for=ONE_HOUR if settled else timedelta(0),
    )
