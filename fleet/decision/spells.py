"""When offers come and go: spells that were recorded, or usual ones, drawn for a replay. Pure.

Times are in hours. A spell is a time in which a type of offers can be rented, or cannot.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

from fleet.decision.values import OfferFacts

# The lengths of spells in three recordings of a spot market, 135 days together: each stands for a
# sixteenth of them.
USUAL_UP: Final = (
    0.15, 0.17, 0.17, 0.22, 0.32, 0.37, 0.38, 0.54, 0.7, 0.93, 1.4, 1.93, 2.98, 4.55, 8.94, 18.42,
)  # fmt: skip
USUAL_DOWN: Final = (
    0.15, 0.17, 0.17, 0.22, 0.32, 0.33, 0.38, 0.48, 0.55, 0.72, 1.03, 1.42, 2.12, 2.97, 4.31, 8.36,
)  # fmt: skip
# Markets differ: the spells of one are longer or shorter than these by a factor of about two.
SPREAD: Final = 0.7
# Of the replays, so many use what was recorded, once a week was; the rest use the usual spells.
MOST_RECORDED: Final = 0.75
WEEK: Final = 7.0  # days
SHORTEST: Final = 1 / 60


class OfferKind(NamedTuple):
    """What tells types of offers apart: their availability is recorded together."""

    account_id: int
    gpu_type: str
    gpu_count: int
    region: str
    interruptible: bool


def kind_of(offer: OfferFacts) -> OfferKind:
    """The type of an offer."""
    return OfferKind(
        offer.account_id, offer.gpu_type, offer.gpu_count, offer.region, offer.interruptible
    )


class Spell(NamedTuple):
    """A time in which offers of a type stood, or did not."""

    up: bool
    hours: float


Stretch = Sequence[Spell]  # what was seen without a break, the oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What surveys recorded of the offers that a fleet can rent."""

    days: float = 0.0  # for which they were read; at most a week counts
    stretches: Mapping[OfferKind, Sequence[Stretch]] = field(default_factory=dict)
    absent: Sequence[OfferFacts] = ()  # they stood in these days, and do not stand now

    @property
    def share(self) -> float:
        """The share of the replays that use what was recorded."""
        return min(MOST_RECORDED, self.days / WEEK)


def stretch_of(times: Iterable[tuple[float, float]], *, since: float, until: float) -> Stretch:
    """The spells between two moments, from the times in which offers stood. In their order."""
    found: list[Spell] = []
    at = since
    for start, end in times:
        began, ended = max(start, since), min(end, until)
        if ended <= at:
            continue
        if began > at:
            found.append(Spell(False, began - at))
            at = began
        if found and found[-1].up:
            found[-1] = Spell(True, found[-1].hours + ended - at)
        else:
            found.append(Spell(True, ended - at))
        at = ended
    if until > at:
        found.append(Spell(False, until - at))
    return found


def drawn(
    stretches: Sequence[Stretch], *, up: bool, new: bool, recorded: bool, draw: Random
) -> Iterator[Spell]:
    """Spells from now on, without an end; the first one has the present state.

    `new`: this state has just begun. `recorded`: from what was recorded, as far as it has that state.
    """
    if recorded and any(spell.up == up for stretch in stretches for spell in stretch):
        yield from _recorded(stretches, up=up, draw=draw)
    yield from _usual(up=up, new=new, draw=draw)


def _recorded(stretches: Sequence[Stretch], *, up: bool, draw: Random) -> Iterator[Spell]:
    """What followed moments of the same state: one after the other, each to the end of its stretch."""
    while True:
        places = [
            (stretch, n)
            for stretch in stretches
            for n, spell in enumerate(stretch)
            if spell.up == up and spell.hours > 0
        ]
        if not places:
            return
        [(stretch, n)] = draw.choices(places, [s[at].hours for s, at in places])
        yield Spell(up, max(SHORTEST, stretch[n].hours * draw.random()))
        yield from stretch[n + 1 :]
        # A stretch ends because nobody read on, so its last state goes on in another place.
        up = stretch[-1].up


def _usual(*, up: bool, new: bool, draw: Random) -> Iterator[Spell]:
    factors = {kind: draw.lognormvariate(0, SPREAD) for kind in (True, False)}
    usual = {True: USUAL_UP, False: USUAL_DOWN}
    if not new:
        # Somebody who looks at any moment sees a long spell more often than a short one.
        [whole] = draw.choices(usual[up], usual[up])
        yield Spell(up, max(SHORTEST, whole * factors[up] * draw.random()))
        up = not up
    while True:
        yield Spell(up, draw.choice(usual[up]) * factors[up])
        up = not up


def ends_an_hour(stretches: Sequence[Stretch]) -> float | None:
    """How often the offers went away, for each hour in which they stood; None: they never stood."""
    hours = sum(spell.hours for stretch in stretches for spell in stretch if spell.up)
    ends = sum(spell.up for stretch in stretches for spell in stretch[:-1])
    return ends / hours if hours else None
