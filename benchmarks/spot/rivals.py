"""The policies that the product is compared with."""

from collections.abc import Callable
from typing import Final

from benchmarks.spot.world import (
    BOOT_MINUTES,
    LONGEST_BOOT_MINUTES,
    MINUTE,
    PODS,
    Acts,
    World,
    towards,
)

# The longest boot, the ramp of the whole fleet, a tick and a drain.
LAST_MOMENT: Final = (LONGEST_BOOT_MINUTES + 4) * MINUTE


def on_demand_only() -> Acts:
    """All pods on demand from the beginning."""

    def act(world: World) -> None:
        towards(world, [0] * len(world.up), PODS)

    return act


def latest_start() -> Acts:
    """Interruptible pods, then on demand from the last moment to the end."""
    late = False

    def act(world: World) -> None:
        nonlocal late
        late = late or world.hours_left - world.left / PODS - LAST_MOMENT <= 0
        towards(world, [0] * len(world.up) if late else _filled(world), PODS if late else 0)

    return act


def uniform_progress() -> Acts:
    """Never behind a straight line (NSDI 2024): else on demand until ahead of it; spot when there."""
    late = catching_up = False

    def act(world: World) -> None:
        nonlocal late, catching_up
        late = late or world.hours_left - world.left / PODS - LAST_MOMENT <= 0
        done, whole = world.work - world.left, world.episode.deadline_minutes
        line = world.work / whole
        behind = done < line * world.minute - 1e-9
        ahead = done >= line * (world.minute + 2 * BOOT_MINUTES)
        catching_up = not any(world.up) and ((catching_up and not ahead) or behind)
        spot = [0] * len(world.up) if late else _filled(world)
        towards(world, spot, PODS if late or catching_up else 0)

    return act


def _filled(world: World) -> list[int]:
    """What runs stays, then the cheapest."""
    wanted, left = [0] * len(world.up), PODS
    order = sorted(range(len(world.up)), key=lambda z: world.episode.prices[z])
    for zone in order:
        wanted[zone] = min(left, world.running(zone))
        left -= wanted[zone]
    for zone in order:
        if world.up[zone]:
            wanted[zone] += left
            left = 0
    return wanted


RIVALS: Final[dict[str, Callable[[], Acts]]] = {
    "on demand only": on_demand_only,
    "latest start": latest_start,
    "uniform progress": uniform_progress,
}
