"""Decisions as lines of a list: what is the same again and again becomes one line."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fleet.decision.field_words import rule_words
from fleet.models import Tick
from fleet.pages import health_facts
from pods.plural import plural

# Between two decisions of one run lies at most this many periods of the fleet, and at least a minute:
# a beat that is a little late does not break a run, a decision of another kind does.
PERIODS: Final = 2.5
SHORTEST_BREAK: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What of a decision tells whether it is the same as the one before it."""

    pk: int
    fleet_id: int
    at: datetime
    binding: str
    active: int
    target: int
    moves: int  # pods that it started or ended
    known: bool  # whether the backlog was
    failing: int

    def same_as(self, newer: "Row") -> bool:
        """Whether a newer decision of the fleet only repeats this one."""
        return not (self.moves or newer.moves) and self._kind == newer._kind

    @property
    def _kind(self) -> tuple[object, ...]:
        return self.binding, self.active, self.target, self.known, self.failing


COLUMNS: Final = (
    "pk", "fleet_id", "at", "binding", "active", "target", "spawned", "retired", "depth", "failing",
)  # fmt: skip


def row(values: Sequence[object]) -> Row:
    """A row out of the values of COLUMNS."""
    pk, fleet_id, at, binding, active, target, spawned, retired, depth, failing = values
    return Row(
        pk=pk, fleet_id=fleet_id, at=at, binding=binding, active=active, target=target,  # type: ignore[arg-type]
        moves=spawned + retired, known=depth is not None, failing=failing,  # type: ignore[operator,arg-type]
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Line:
    """A run of decisions that are the same: the newest of them, and how far back it goes."""

    newest: Row
    oldest: Row
    count: int = 1
    whole: bool = True  # False: it may go on before the rows that were read

    @property
    def lasted(self) -> timedelta:
        """From its oldest decision to its newest."""
        return self.newest.at - self.oldest.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """One page of lines, the newest first."""

    lines: Sequence[Line]
    last: Row | None  # the last row that they took in; None: they took in nothing
    more: bool  # whether older rows may follow


def folded(
    rows: Iterable[Row], periods: Mapping[int, timedelta], *, most: int, cut_off: bool = False
) -> Folded:
    """Fold rows of any fleets, the newest first, into at most so many lines.

    `periods`: how often each fleet is decided on. `cut_off`: there are older rows that were not read.
    """
    lines: list[Line] = []
    open_runs: dict[int, Line] = {}
    last: Row | None = None
    more = cut_off
    for each in rows:
        run = open_runs.get(each.fleet_id)
        if run is not None and _continues(each, run.oldest, periods.get(each.fleet_id)):
            run.oldest, run.count = each, run.count + 1
        elif len(lines) == most:
            more = True
            break
        else:
            open_runs[each.fleet_id] = run = Line(newest=each, oldest=each)
            lines.append(run)
        last = each
    for run in open_runs.values():
        run.whole = not more or bool(run.newest.moves)
    return Folded(lines=lines, last=last, more=more)


def _continues(older: Row, newer: Row, period: timedelta | None) -> bool:
    longest = max(SHORTEST_BREAK, PERIODS * (period or timedelta(0)))
    return older.same_as(newer) and newer.at - older.at <= longest


def headline(tick: Tick) -> str:
    """What a decision did, in a few words: `starts 1 pod, held at 3 by Max pods`."""
    said = []
    if tick.spawned:
        said.append(f"starts {plural(tick.spawned, 'pod')}")
    if tick.retired:
        said.append(f"ends {plural(tick.retired, 'pod')}")
    if tick.binding and health_facts.rule_named(tick.binding) is not None:
        said.append(f"held at {tick.target} by {rule_words(tick.binding)}")
    elif tick.depth is None:
        said.append("the backlog is unknown")
    return ", ".join(said) or f"keeps {plural(tick.active, 'pod')}"


def wanted(tick: Tick) -> int:
    """How many pods the backlog was worth, before any limit."""
    first: Mapping[str, int] = tick.steps[0] if tick.steps else {}
    return first.get("after", tick.desired)
