"""Round ticks for the axes of a chart, and points of a drawing. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

MOST_TICKS: Final = 4  # on the axis of values, besides 0
ROUND: Final = (1, 2, 2.5, 5, 10)
LABEL_HEIGHT: Final = 13.0  # pixels that the text of a label needs


def value_ticks(most: float, *, whole: bool = False) -> Sequence[float]:
    """Round values from 0 to the first that is not below `most`; `whole`: only whole numbers."""
    if most <= 0:
        return [0.0, 1.0]
    size = 10.0 ** _digits(most / MOST_TICKS)
    steps = [factor * size for factor in ROUND]
    if whole:
        steps = [step for step in steps if step >= 1 and step == int(step)] or [1.0]
    step = next(step for step in steps if step * MOST_TICKS >= most)
    count = 1
    while step * count < most:
        count += 1
    return [step * n for n in range(count + 1)]


def _digits(value: float) -> int:
    """The exponent of the largest power of ten that is not above the value."""
    digits = 0
    while 10.0**digits > value:
        digits -= 1
    while 10.0 ** (digits + 1) <= value:
        digits += 1
    return digits


def time_ticks(begin: datetime, end: datetime, step: timedelta, zone: tzinfo) -> Sequence[datetime]:
    """The round moments of a stretch, as clocks in this zone show them."""
    here = begin.astimezone(zone)
    moment = here.replace(hour=0, minute=0, second=0, microsecond=0)
    if step < timedelta(days=1):
        moment += step * ((here - moment) // step)
    found = []
    while moment <= end:
        if moment >= begin:
            found.append(moment)
        moment += step
    return found


def spread(wanted: Sequence[float], *, lowest: float, highest: float) -> Sequence[float]:
    """Heights at which labels do not cover each other, as near as possible to the wanted ones."""
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    placed = list(wanted)
    below = lowest - LABEL_HEIGHT
    for n in order:
        placed[n] = below = max(wanted[n], below + LABEL_HEIGHT)
    above = highest + LABEL_HEIGHT
    for n in reversed(order):
        placed[n] = above = min(placed[n], above - LABEL_HEIGHT)
    return placed
