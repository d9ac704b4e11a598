"""Reads dead letters, puts them back onto the stream, and deletes them."""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

import redis

from fleet.items.failures import COMPARED, Failure
from fleet.items.letter_scripts import DROP, GLANCE, LOOK, RETRY, WHOLE
from pods.agent import protocol

# How many letters one step moves or reads, and after how many bytes it ends: a step blocks the server,
# and a letter may hold an item of many megabytes and a traceback.
AT_ONCE: Final = 100
BYTES_AT_ONCE: Final = 8 * 1024 * 1024
# How much of an item a page shows: so many of its fields, and so many bytes of each.
FIELDS_SHOWN: Final = 20
BYTES_SHOWN: Final = 1000
# A look at the reasons ends after so many steps, however large the items are.
GLANCES: Final = 20
BYTES_OF_A_REASON: Final = 4 * COMPARED


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownField:
    """A field of an item, as far as a page shows it."""

    name: str
    value: str  # the beginning; bytes that are not text are escaped
    size: int  # bytes of the whole value
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One item that failed for the last time."""

    letter: str  # its id on the dead-letter stream, for `--id`
    id: str  # the item's own id, else its entry's
    error: str
    traceback: str
    deliveries: int
    pod: str
    at: datetime | None  # by the server's clock; None: not known
    history: tuple[str, ...]  # former failures, oldest first: milliseconds, pod, deliveries, error
    payload_bytes: int
    fields: tuple[ShownField, ...] = ()  # of the item, if they were asked for
    field_count: int = 0  # of the item


class DeadLetters:
    """The dead-letter stream of one backlog."""

    def __init__(self, client: "redis.Redis", *, stream: str, dead: str, rows: str = "") -> None:
        """`client`: bytes in, bytes out; `rows`: the counts of rows, if the backlog is a dataset."""
        self._client, self._stream, self._dead = client, stream, dead
        self._rows = [rows] if rows else []

    def count(self) -> int:
        """How many dead letters there are."""
        return self._client.xlen(self._dead)

    def first(self, most: int) -> list[Letter]:
        """The `most` oldest letters."""
        found: list[Letter] = []
        after = "0-0"
        while page := self._page(after, "+", count=min(AT_ONCE, most - len(found))):
            found += page
            after = page[-1].letter
        return found

    def after(self, letter: str, most: int) -> list[Letter]:
        """The `most` oldest letters after one id ("0-0": from the first on), with the items' fields.

        Large values are cut off: neither the server nor the caller holds a page of large items.
        """
        found: list[Letter] = []
        while page := self._page(
            letter, "+", count=min(AT_ONCE, most - len(found)), fields=FIELDS_SHOWN
        ):
            found += page
            letter = page[-1].letter
        return found

    def examples(self, letters: Sequence[str]) -> Mapping[str, Letter]:
        """These letters with the items' fields, as `after`, without those that are gone. One step."""
        script = self._client.register_script(LOOK)
        with self._client.pipeline(transaction=False) as pipe:
            for letter in letters:
                shown: list[Any] = [_before(letter), letter, 1, 1, FIELDS_SHOWN, BYTES_SHOWN]
                script(keys=[self._dead], args=shown, client=pipe)
            pages = cast("list[list[Any]]", pipe.execute())
        found = [_letter(*row) for page in pages for row in page]
        return {letter.letter: letter for letter in found}

    def failures(self, most: int, *, until: str = "+") -> list[Failure]:
        """Why the newest letters are there, newest first; `until`: the newest of them.

        It ends early where the items are large, and never holds an item.
        """
        found: list[Failure] = []
        before = until
        script = self._client.register_script(GLANCE)
        for _ in range(GLANCES):
            count = min(AT_ONCE, most - len(found))
            if count < 1:
                break
            args: list[Any] = [before, count, BYTES_AT_ONCE, BYTES_OF_A_REASON]
            page = cast("list[Any]", script(keys=[self._dead], args=args))
            if not page:
                break
            found += [_failure(*row) for row in page]
            before = f"({found[-1].letter}"
        return found

    def whole(self) -> Iterator[tuple[str, Mapping[bytes, bytes]]]:
        """Yield the id and all fields of each letter that exists now, oldest first, in steps.

        The first step is read before the first letter is yielded, so an error comes early.
        """
        last, after = self._newest(), "0-0"
        script = self._client.register_script(WHOLE)
        while last:
            args: list[Any] = [after, last, AT_ONCE, BYTES_AT_ONCE]
            page = cast("list[Any]", script(keys=[self._dead], args=args))
            for entry, flat in page:
                yield entry.decode(), dict(zip(flat[::2], flat[1::2], strict=True))
            if not page:
                return
            after = page[-1][0].decode()

    def retry(
        self,
        letters: Sequence[str] | None,
        *,
        told: Callable[[int], None],
        enough: Callable[[], bool] = lambda: False,
    ) -> int:
        """Put these letters (None: all that exist now) back onto the stream; return how many.

        A letter is added to the stream and removed from the dead letters in one step, so no kill loses
        or repeats one. `told` is called after each step with the number so far; the call ends after a
        step where `enough()` is true.
        """
        script = self._client.register_script(RETRY)

        def back(step: list[str]) -> int:
            count = 0
            while step:
                keys = [self._dead, self._stream, *self._rows]
                moved, seen = cast("list[int]", script(keys=keys, args=[BYTES_AT_ONCE, *step]))
                count, step = count + moved, step[seen:]
            return count

        return self._each(letters, back, told, enough)

    def drop(
        self,
        letters: Sequence[str] | None,
        *,
        told: Callable[[int], None],
        enough: Callable[[], bool] = lambda: False,
    ) -> int:
        """Delete these letters (None: all that exist now); return how many. As `retry`."""

        def away(step: list[str]) -> int:
            if not self._rows:
                return self._client.xdel(self._dead, *step)
            script = self._client.register_script(DROP)
            return cast("int", script(keys=[self._dead, *self._rows], args=list(step)))

        return self._each(letters, away, told, enough)

    def _each(
        self,
        letters: Sequence[str] | None,
        act: Callable[[list[str]], int],
        told: Callable[[int], None],
        enough: Callable[[], bool],
    ) -> int:
        count = 0
        for step in self._steps(letters):
            count += act(step)
            told(count)
            if enough():
                break
        return count

    def _steps(self, letters: Sequence[str] | None) -> Iterator[list[str]]:
        if letters is not None:
            yield from (list(letters[n : n + AT_ONCE]) for n in range(0, len(letters), AT_ONCE))
            return
        # A letter that fails again during this call is left for the next one.
        last, after = self._newest(), "0-0"
        while last and (page := self._page(after, last, count=AT_ONCE)):
            step = [letter.letter for letter in page]
            after = step[-1]
            yield step

    def _newest(self) -> str:
        """The id of the newest letter; "": there is none."""
        newest = cast("list[Any]", self._client.xrevrange(self._dead, count=1))
        return newest[0][0].decode() if newest else ""

    def _page(self, after: str, until: str, *, count: int, fields: int = 0) -> list[Letter]:
        """The next letters after one id and up to another; fewer than `count` if they are large."""
        if count < 1:
            return []
        args: list[Any] = [after, until, count, BYTES_AT_ONCE, fields, BYTES_SHOWN]
        page = self._client.register_script(LOOK)(keys=[self._dead], args=args)
        return [_letter(*row) for row in cast("list[Any]", page)]


def _letter(
    entry: bytes, payload_bytes: int, flat: list[bytes], own: int, shown: list[Any]
) -> Letter:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))

    def text(name: str) -> str:
        return _text(fields.get(name.encode(), b""))

    return Letter(
        letter=entry.decode(),
        id=text(protocol.ITEM_ID) or text(protocol.DEAD_ENTRY),
        error=text(protocol.DEAD_ERROR),
        traceback=text(protocol.DEAD_TRACEBACK),
        deliveries=_number(text(protocol.DEAD_DELIVERIES)) or 0,
        pod=text(protocol.DEAD_POD),
        at=_moment(_number(text(protocol.DEAD_AT_MS))),
        history=tuple(text(protocol.ITEM_HISTORY).splitlines()),
        payload_bytes=payload_bytes,
        fields=tuple(
            ShownField(
                name=_text(name), value=_text(value, cut=size), size=size, cut=len(value) < size
            )
            for name, value, size in shown
        ),
        field_count=own,
    )


def _failure(entry: bytes, flat: list[bytes]) -> Failure:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))

    def text(name: str) -> str:
        return _text(fields.get(name.encode(), b""), cut=BYTES_OF_A_REASON + 1)

    return Failure(
        letter=entry.decode(),
        id=text(protocol.ITEM_ID) or text(protocol.DEAD_ENTRY),
        error=text(protocol.DEAD_ERROR),
        deliveries=_number(text(protocol.DEAD_DELIVERIES)) or 0,
        at=_moment(_number(text(protocol.DEAD_AT_MS))),
    )


def _before(letter: str) -> str:
    """The id just before another one."""
    milliseconds, _, number = letter.partition("-")
    if int(number):
        return f"{milliseconds}-{int(number) - 1}"
    return f"{int(milliseconds) - 1}-{2**64 - 1}"


def _text(value: bytes, *, cut: int = 0) -> str:
    """A value as text; `cut`: its whole length, where half a character at its end is left out."""
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    return decoder.decode(value, final=len(value) >= cut)


def _number(text: str) -> int | None:
    """A number as agents write it, else None: anybody may have written the letter."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _moment(milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
