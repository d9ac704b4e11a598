"""A fleet with a deadline, second by second: interruptible pods are taken away at any time. Pure."""

from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Final

from fleet.decision.decide import decide
from fleet.decision.values import PodFacts, Policy, Snapshot
from pods.states import BOOTING, DRAINING, READY, TERMINATING, PodState
from tests.support.factories import NOON, seconds
from tests.support.goals import FIRM, SPOT, by, offers

RATE: Final = 10.0  # items/s of a pod
LONGEST_BOOT: Final = 300  # seconds
NOTICED: Final = (0, 15, 30)  # seconds for which a lost pod is still shown as working
PROVED: Final = (0, 15, 60, 90)  # seconds from then on until it is proved gone
AWAY: Final = (60, 600, 3000)  # seconds for which the offer of a lost pod is away


@dataclass(slots=True, kw_only=True)
class Rented:
    """A pod of the model. Times are in seconds from the beginning."""

    number: int
    spot: bool
    since: int
    ready_at: int
    state: PodState = BOOTING
    state_since: int = 0
    lost_at: int | None = None  # it does no work from then on
    noticed_at: int = 0
    gone_at: int | None = None


@dataclass(slots=True, kw_only=True)
class Promising:
    """A fleet and its market. `risks`: what each tick said."""

    draw: Random
    policy: Policy
    items: float
    usual_boot: int
    places: int
    lost: float  # how likely each interruptible pod is taken away in a tick
    now: int = 0
    made: int = 0
    pods: list[Rented] = field(default_factory=list)
    away: list[int] = field(default_factory=list)  # until when offers are away
    risks: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def run(self) -> bool:
        """Run until all is done, or the deadline has passed; whether it was kept."""
        assert self.policy.drain_by is not None
        end = int((self.policy.drain_by - NOON).total_seconds())
        tick = int(self.policy.tick.total_seconds())
        while self.now <= end:
            if self.items < 0.5:
                return True
            self._change()
            self._decide()
            working = sum(p.state is READY and p.lost_at is None for p in self.pods)
            self.items -= working * RATE * tick
            self.now += tick
        return self.items < 0.5

    def _change(self) -> None:
        self.away = [until for until in self.away if until > self.now]
        for pod in self.pods:
            if pod.state is BOOTING and pod.ready_at <= self.now:
                pod.state, pod.state_since = READY, self.now
            taken = pod.state in {READY, BOOTING} and pod.spot and pod.lost_at is None
            if taken and self.draw.random() < self.lost:
                pod.lost_at, pod.noticed_at = self.now, self.now + self.draw.choice(NOTICED)
                self.away.append(self.now + self.draw.choice(AWAY))
            if pod.lost_at is not None and pod.gone_at is None and pod.noticed_at <= self.now:
                self._end(pod)
            if pod.state is DRAINING and self.now - pod.state_since >= 20:
                self._end(pod)
        self.pods = [p for p in self.pods if p.gone_at is None or p.gone_at > self.now]

    def _end(self, pod: Rented) -> None:
        pod.state, pod.state_since = TERMINATING, self.now
        pod.gone_at = self.now + self.draw.choice(PROVED)

    def _decide(self) -> None:
        decision = decide(self._seen(), self.policy)
        self.risks.append(decision.risk)
        self.lines.append(
            f"{self.now} {self.items:.0f} {[(p.number, p.spot, p.state.value, p.lost_at) for p in self.pods]} "
            f"+{[s.offer.key for s in decision.spawn]} -{[r.pod_id for r in decision.retire]} "
            f"{decision.steps[0].because} {decision.risk and 'RISK'} {decision.binding}"
        )
        for start in decision.spawn:
            self.made += 1
            boot = self.draw.choice([self.usual_boot, self.usual_boot, LONGEST_BOOT])
            self.pods.append(
                Rented(
                    number=self.made,
                    spot=start.offer.interruptible,
                    since=self.now,
                    ready_at=self.now + boot,
                    state_since=self.now,
                )
            )
        leaving = {r.pod_id for r in decision.retire}
        for pod in self.pods:
            if pod.number in leaving:
                if pod.state is BOOTING:
                    self._end(pod)
                else:
                    pod.state, pod.state_since = DRAINING, self.now

    def _seen(self) -> Snapshot:
        return Snapshot(
            now=NOON + timedelta(seconds=self.now),
            depth=max(1, round(self.items)),
            pods=tuple(map(self._facts, self.pods)),
            offers=offers(spot=max(0, self.places - len(self.away)), firm=self.places),
            items_per_second=RATE,
            boot_time=seconds(self.usual_boot),
            boot_bound=seconds(LONGEST_BOOT),
            usual_items_per_second=RATE,
            spot_hourly_usd=SPOT,
        )

    def _facts(self, pod: Rented) -> PodFacts:
        works, leaves = pod.state is READY, pod.state in {DRAINING, TERMINATING}
        in_state = seconds(self.now - pod.state_since)
        return PodFacts(
            pod_id=pod.number,
            state=pod.state,
            hourly_usd=SPOT if pod.spot else FIRM,
            age=seconds(self.now - pod.since),
            in_flight=4 if works else None,
            items_per_second=RATE if works else None,
            ready_for=in_state if works else None,
            account_id=1,
            interruptible=pod.spot,
            offer_key="spot" if pod.spot else "firm",
            leaving_for=in_state if leaves else None,
        )


def drawn(seed: int) -> Promising:
    """A fleet of one to eight places, with more or less time to spare."""
    draw = Random(seed)
    places, work = draw.choice([1, 3, 3, 8]), draw.choice([0.3, 0.8, 2.0])
    slack = draw.choice([0.05, 0.15, 0.2, 0.3, 0.6, 1.0, 2.0])
    policy = by(
        work + slack,
        max_instances=places,
        spawn_per_tick=draw.choice([1, 2, 4]),
        drain_within=seconds(20),
    )
    return Promising(
        draw=draw, policy=policy, items=work * places * RATE * 3600, places=places,
        usual_boot=draw.choice([15, 60, 180, 300]), lost=draw.choice([0.0, 0.005, 0.02, 0.1]),
    )  # fmt: skip
