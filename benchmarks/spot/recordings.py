"""Reads recordings of a spot market, and draws episodes from them."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

OURS: Final = Path(__file__).parent / "recordings"
SPOT_USD: Final = 0.92
FIRM_USD: Final = 3.06
DEARER: Final = 0.1  # each further zone costs so much more than the one before it
MOST_ZONES: Final = 3  # together
SLACKS: Final = (1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0)
WEEK_MINUTES: Final = 7 * 24 * 60
WORK_HOURS: Final = (6.0, 12.0, 24.0)  # of each of the pods

Minutes = NDArray[np.bool_]  # whether a pod could be had in each minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A backlog that begins at a minute of some recordings."""

    zones: tuple[str, ...]
    up: tuple[Minutes, ...]  # from the beginning of the episode
    prices: tuple[float, ...]  # USD/hour
    hours: float  # of work for each of the pods
    slack: float  # the deadline, in multiples of these
    deadline_minutes: int
    before: tuple[Minutes, ...] = ()  # the week before it, or as much as was recorded


def read(folder: Path) -> dict[str, Minutes]:
    """The recordings of a folder by their names, in steps of a minute."""
    found: dict[str, Minutes] = {}
    for path in sorted([*folder.glob("*.json.gz"), *folder.glob("*.json")]):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        record = json.loads(raw)
        if not isinstance(record, dict) or "data" not in record:
            continue
        steps, gap = np.array(record["data"]) > 0, record["metadata"]["gap_seconds"]
        minutes = int(len(steps) * gap / 60)
        at = (np.arange(minutes) * 60 // gap).astype(int)
        found[path.name.split(".json")[0]] = steps[np.minimum(at, len(steps) - 1)]
    return found


def markets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Each zone alone, then neighbours together."""
    alone = [(name,) for name in names]
    sizes = range(0, len(names), MOST_ZONES)
    together = [tuple(names[n : n + MOST_ZONES]) for n in sizes]
    return alone + [zones for zones in together if len(zones) > 1]


def episodes(recorded: dict[str, Minutes], *, each: int, seed: int = 21) -> list[Episode]:
    """`each` episodes of every market, slack and amount of work, at moments drawn with the seed."""
    draw = Random(seed)
    found: list[Episode] = []
    for zones in markets(list(recorded)):
        for slack in SLACKS:
            for hours in WORK_HOURS:
                for _ in range(each):
                    found += _drawn(recorded, zones, slack, hours, draw)
    return found


def _drawn(
    recorded: dict[str, Minutes], zones: tuple[str, ...], slack: float, hours: float, draw: Random
) -> list[Episode]:
    minutes = round(slack * hours * 60)
    latest = min(len(recorded[zone]) for zone in zones) - minutes - 1
    if latest <= 0:
        return []
    start = draw.randrange(latest)
    order = draw.sample(zones, len(zones))
    return [
        Episode(
            zones=tuple(order),
            up=tuple(recorded[zone][start:] for zone in order),
            prices=tuple(SPOT_USD * (1 + DEARER * n) for n in range(len(order))),
            hours=hours,
            slack=slack,
            deadline_minutes=minutes,
            before=tuple(recorded[zone][max(0, start - WEEK_MINUTES) : start] for zone in order),
        )
    ]
