"""Pods on a recorded spot market, minute by minute: boots, ramp, drains, losses and bills."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.spot.recordings import FIRM_USD, Episode

PODS: Final = 8
BOOT_MINUTES: Final = 5
LONGEST_BOOT_MINUTES: Final = 8  # as it is told to the policies
DRAIN_MINUTES: Final = 1
PER_MINUTE: Final = 4  # pods that start in a minute
HALF_LIFE_MINUTES: Final = 72 * 60
MINUTE: Final = 1 / 60  # hours


@dataclass(slots=True, eq=False)
class SpotPod:
    """A pod: on which zone (-1: on demand), and what it waits for."""

    number: int
    zone: int
    boot: int
    boot_left: int
    leaving: bool = False


@dataclass(slots=True)
class World:
    """One episode under way. Hours and pod-hours; money in USD."""

    episode: Episode
    left: float
    boots: Sequence[int] = (BOOT_MINUTES,)  # of one pod after the other, again and again
    minute: int = 0
    cost: float = 0.0
    pods: list[SpotPod] = field(default_factory=list)
    since: list[int] = field(default_factory=list)  # minutes for which each zone is as it is
    up: list[bool] = field(default_factory=list)
    lost: float = 0.0
    spot_hours: float = 0.0
    made: int = 0

    @property
    def work(self) -> float:
        """Pod-hours at the beginning."""
        return self.episode.hours * PODS

    @property
    def hours_left(self) -> float:
        """Until the deadline."""
        return (self.episode.deadline_minutes - self.minute) * MINUTE

    def price(self, zone: int) -> float:
        """USD/hour of a pod."""
        return FIRM_USD if zone < 0 else self.episode.prices[zone]

    def running(self, zone: int) -> int:
        """The pods of a zone that work or will work."""
        return sum(p.zone == zone and not p.leaving for p in self.pods)

    def look(self) -> None:
        """What this minute changes: offers begin and end, and take their pods with them."""
        up = [bool(zone[self.minute]) for zone in self.episode.up]
        same = self.since and self.up
        self.since = [
            n + 1 if same and was == now else 0
            for n, was, now in zip(self.since or [0] * len(up), self.up or up, up, strict=True)
        ]
        self.up = up
        gone = [p for p in self.pods if p.zone >= 0 and not up[p.zone]]
        aging = 0.5 ** (1 / HALF_LIFE_MINUTES)
        self.lost = self.lost * aging + sum(not p.leaving for p in gone)
        self.pods = [p for p in self.pods if p not in gone] if gone else self.pods
        spot = sum(p.zone >= 0 for p in self.pods)
        self.spot_hours = self.spot_hours * aging + spot * MINUTE

    def start(self, zone: int) -> None:
        """Rent a pod."""
        boot = self.boots[self.made % len(self.boots)]
        self.made += 1
        self.pods.append(SpotPod(self.made, zone, boot, boot))

    def drain(self, pod: SpotPod) -> None:
        """Let a pod finish what it has in hand."""
        pod.leaving, pod.boot_left = True, DRAIN_MINUTES

    def work_a_minute(self) -> float | None:
        """Work and bill; the minute in which all was done, or None."""
        working = sum(not p.leaving and not p.boot_left for p in self.pods)
        hourly = sum(self.price(p.zone) for p in self.pods)
        done = working * MINUTE
        share = self.left / done if done >= self.left - 1e-12 and done else 1.0
        self.cost += hourly * MINUTE * share
        if done >= self.left - 1e-12 and done:
            self.left = 0.0
            return self.minute + share
        self.left -= done
        for pod in self.pods:
            pod.boot_left = max(0, pod.boot_left - 1)
        self.pods = [p for p in self.pods if not p.leaving or p.boot_left]
        self.minute += 1
        return None


Acts = Callable[[World], None]  # starts and drains pods in one minute


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an episode ended."""

    cost: float
    minutes: float | None  # None: not done at the horizon
    boots: int


def play(
    episode: Episode, acts: Acts, *, horizon: int, boots: Sequence[int] = (BOOT_MINUTES,)
) -> Outcome:
    """Run an episode to its end, or for at most `horizon` minutes."""
    world = World(episode=episode, left=episode.hours * PODS, boots=boots)
    horizon = min(horizon, *(len(zone) for zone in episode.up))
    while world.minute < horizon:
        world.look()
        acts(world)
        end = world.work_a_minute()
        if end is not None:
            return Outcome(world.cost, end, world.made)
    return Outcome(world.cost, None, world.made)


def towards(world: World, spot: Sequence[int], firm: int) -> None:
    """Drain what is above these numbers of pods, and start what is missing, within the ramp."""
    wanted = {-1: firm, **dict(enumerate(spot))}
    for zone, pods in wanted.items():
        active = [p for p in world.pods if p.zone == zone and not p.leaving]
        for pod in active[pods:]:
            world.drain(pod)
    free = min(PODS - len(world.pods), PER_MINUTE)
    for zone in (*range(len(spot)), -1):
        more = min(free, max(0, wanted[zone] - world.running(zone)))
        for _ in range(more):
            world.start(zone)
        free -= more
