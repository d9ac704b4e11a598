"""Cuts a range into pieces, so that a row that ends its pods does not cost the other rows."""

import logging
from collections.abc import Iterator

from pods.agent.control import Intent
from pods.agent.dataset.backlog import RangeStream
from pods.agent.dataset.formats import UnknownFormat, source_format
from pods.agent.dataset.lines import lines_of
from pods.agent.dataset.rows import BadInput, Chunk
from pods.agent.dataset.stores import BadUrl, StoreError, place
from pods.agent.dataset.work import Work
from pods.agent.holding import Holding
from pods.agent.patience import Patience
from pods.agent.ranges import Format, Range, Unit
from pods.agent.settling import Settling
from pods.agent.stream import Failure

log = logging.getLogger("podfleet.agent")

# Each level of pieces costs the tries of one of them: 60,000 rows are single rows after three levels.
PIECES = 100
# Of a fleet, until somebody runs `fleet feed` again: each costs the tries of a range.
MOST_DIVISIONS = 100
# Of these, the lines of a range are found without a look at what is before it.
OF_LINES = (Format.JSONL, Format.TEXT, Format.OBJECTS)
PIECE_TRIES = 3  # of a piece; it is alone with its pod in each


class Dividing:
    """Deals with ranges that used up their tries without any report: they ended their pods."""

    def __init__(
        self,
        stream: RangeStream,
        patience: Patience,
        store_patience: Patience,
        settling: Settling,
        holding: Holding,
    ) -> None:
        self._stream, self._settling, self._holding = stream, settling, holding
        self._patience, self._store_patience = patience, store_patience

    def one_row(self, work: Work) -> bool:
        """Put the pieces of a range onto the stream. True if it has one row, which is given up.

        Raises:
            GivenUp: the agent must end before that.
        """
        entry, of, tries = work.entry.id, work.range, work.entry.deliveries - 1
        why = f"given up: begun {tries} times, and no agent reported back"
        try:
            pieces = self._store_patience.with_("store", lambda _: pieces_of(of), until=Intent.STOP)
        except (BadInput, StoreError, UnknownFormat) as exc:
            self._settling.fail([Failure(entry, f"{why}; {exc}", final=True)])
            return False
        is_one = len(pieces) == 1
        more = sum(piece.rows for piece in pieces) - of.rows
        done = self._patience.with_(
            "divide",
            lambda _: self._stream.divide(entry, () if is_one else pieces, more, MOST_DIVISIONS),
            until=Intent.STOP,
        )
        log.warning("range_divided range=%s pieces=%d tries=%d", of.id, len(pieces), tries)
        if done < 0:
            self._settling.fail([Failure(entry, why, final=True)])
        elif done and is_one:
            work.given_up = f"its pod ended {tries} times while it worked on this row"
            return True
        else:
            self._holding.drop([entry])
        return False


def pieces_of(of: Range) -> list[Range]:
    """The range in up to 200 pieces whose rows were counted; of one row, or of none, itself.

    Raises:
        BadInput: the file is not what the range says.
        UnknownFormat: this agent does not know the format.
        StoreError: the file cannot be read.
    """
    if source_format(of.source.format).unit(of.source) is Unit.ROWS:
        rows = of.rows if of.end is None else of.end - of.start
        step = max(1, -(-rows // PIECES))
        marks = list(range(of.start + step, of.start + rows, step))
    else:
        marks, step, rows = _counted(of)
    bounds = [of.start, *marks]
    pieces = [
        of.rest(start, step).until(end, step) for start, end in zip(bounds, marks, strict=False)
    ]
    return [*pieces, of.rest(bounds[-1], rows - step * len(marks))]


def _counted(of: Range) -> tuple[list[int], int, int]:
    """Bounds within the range, how many rows lie between two of them, and how many there are."""
    marks: list[int] = []
    step, rows, last = 1, 0, of.start
    for last in _ends(of):
        rows += 1
        if not rows % step:
            marks.append(last)
        if len(marks) > 2 * PIECES:
            marks, step = marks[1::2], step * 2
    if marks and marks[-1] == last:
        del marks[-1]  # nothing follows it but the end of the range
    return marks, step, rows


def _ends(of: Range) -> Iterator[int]:
    """The bound after each row of the range."""
    try:
        file = place(of.source.url)
    except BadUrl as exc:
        raise BadInput(str(exc)) from exc
    if of.source.format in OF_LINES:
        for line in lines_of(file, of):
            yield line.after
        return
    starts = source_format(of.source.format).starts(file, of.source)
    own = [n for n in starts if n >= of.start and (of.end is None or n < of.end)]
    yield from own[1:]
    if own:
        yield own[-1] + 1  # no piece begins behind the last row


def not_tried(chunks: Iterator[Chunk], why: str) -> Iterator[Chunk]:
    """The same rows, of which none is given to the handler: each is an error row that says why."""
    for chunk in chunks:
        bad = {n: chunk.bad.get(n, why) for n in range(len(chunk))}
        yield Chunk(chunk.ids, chunk.ends, chunk.rows, chunk.size, bad)
