"""Reads text files (each line is an item) and JSONL files (each line is a JSON object)."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic_core import from_json

from fleet.items.source import NAMES_KEPT, BadInput, BadItem, Fields, LeftOut, Position
from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD, ITEM_REPLY_TO
from pods.base.json_words import why_no_json

SUFFIXES: Final = (".txt", ".jsonl")
# A stream takes values of 512 MB; a longer line than this is probably a file without line ends.
LONGEST_LINE: Final = 256 * 2**20
BLOCK: Final = 2**20
# The keys of a line that go with its item, by the key of the payload.
USED: Final = {
    payload: frozenset({payload, ITEM_ID, ITEM_REPLY_TO}) for payload in (ITEM_PAYLOAD, "text")
}
UTF8_MARK: Final = b"\xef\xbb\xbf"
UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def known_as(path: Path) -> str:
    """The name under which the server remembers a file: its whole path, with links followed."""
    return f"file:{path.resolve()}"


def refuse_folder(path: Path) -> None:
    """Refuse a folder, whose files are to be named instead.

    Raises:
        BadInput: it is one.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name its files, such as {path / '*'}{path.suffix}")


def _digest() -> Any:
    return hashlib.blake2b(digest_size=16)


class ItemFile:
    """One file; reading continues where a former reader ended."""

    def __init__(self, path: Path, *, name: str = "", longest_line: int = LONGEST_LINE) -> None:
        """`name`: the beginning of the ids of items that have no id of their own.

        Raises:
            BadInput: the file is missing, its kind is unknown, or its first bytes are not UTF-8.
        """
        self.path, self.name = path, name or path.name
        self.label, self.known_as = str(path), known_as(path)
        self._longest_line = longest_line
        self.left_out: LeftOut | None = None
        self.unused: set[str] = set()
        self._hash, self._offset, self._lines, self._items = _digest(), 0, 0, 0
        self._json = path.suffix.lower() == ".jsonl"
        if not path.exists():
            raise BadInput(f"{path}: no such file")
        refuse_folder(path)
        if not path.is_file():
            raise BadInput(
                f"{path} is not a file that can be read twice; write the output of a pipe to -"
            )
        if path.suffix.lower() not in SUFFIXES:
            raise BadInput(
                f"{path}: use .txt (each line is an item), .jsonl (a JSON object in each line) or "
                ".parquet (each row is an item)"
            )
        with path.open("rb") as file:
            if file.read(2) in UTF16_MARKS:
                raise BadInput(f"{path} is UTF-16; convert it to UTF-8")

    @property
    def position(self) -> Position:
        """The end of the last item that was read."""
        return Position(
            offset=self._offset,
            lines=self._lines,
            items=self._items,
            digest=self._hash.copy().hexdigest(),
        )

    def go_to(self, position: Position) -> bool:
        """Continue at `position`; return False, at the start, if the file has changed before it.

        Raises:
            BadInput: the file ended inside a line, and that line has grown since.
        """
        seen, left, last = _digest(), position.offset, b"\n"
        with self.path.open("rb") as file:
            while left and (block := file.read(min(left, BLOCK))):
                seen.update(block)
                left, last = left - len(block), block[-1:]
            grown = last != b"\n" and file.read(1) not in {b"", b"\r", b"\n"}
        if left or (position.offset and seen.hexdigest() != position.digest):
            return False
        if grown:
            raise BadInput(
                f"{self.path}:{position.lines}: the line was enqueued before it was complete; "
                "restore its former end, and put the rest on the next line"
            )
        self._hash, self._offset = seen, position.offset
        self._lines, self._items = position.lines, position.items
        return True

    def check(self) -> None:
        """Read the lines that are left; `position` stays the same.

        Raises:
            BadItem: a line is not an item, and bad items are not left out.
        """
        if self._json and self.left_out is None:
            for _ in ItemFile.__iter__(self._twin()):
                pass

    def count_left(self) -> int:
        """How many items are left; the lines are counted, not parsed."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            lines = iter(lambda: file.readline(self._longest_line + 1), b"")
            return sum(1 for line in lines if line.strip(b"\r\n").strip())

    def __iter__(self) -> Iterator[Fields]:
        """Yield the items that are left, without blank lines. `position` moves with each."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while raw := file.readline(self._longest_line + 1):
                self._pass(raw)
                self._lines += 1
                try:
                    item = self._checked_item(raw)
                except BadItem as exc:
                    if self.left_out is None:
                        raise
                    self.left_out.add(exc)
                    self._pass_rest(raw, file)
                    continue
                if item is not None:
                    self._items += 1
                    yield item

    def _pass(self, raw: bytes) -> None:
        self._hash.update(raw)
        self._offset += len(raw)

    def _pass_rest(self, raw: bytes, file: BinaryIO) -> None:
        """Read the rest of a line of which only the beginning was read."""
        while raw and not raw.endswith(b"\n"):
            raw = file.readline(self._longest_line + 1)
            self._pass(raw)

    def _checked_item(self, raw: bytes) -> Fields | None:
        """The item of a line; None if the line is blank."""
        if len(raw) > self._longest_line:
            raise self._bad(f"longer than {self._longest_line:,} bytes; end each item's line")
        line = raw.rstrip(b"\r\n")
        if self._lines == 1:
            line = line.removeprefix(UTF8_MARK)
        return self._item(line) if line.strip() else None

    def _twin(self) -> "ItemFile":
        twin = ItemFile(self.path, name=self.name, longest_line=self._longest_line)
        twin.unused = self.unused
        twin._offset, twin._lines, twin._items = self._offset, self._lines, self._items
        return twin

    def _bad(self, text: str) -> BadItem:
        return BadItem(f"{self.path}:{self._lines}: {text}")

    def _item(self, line: bytes) -> Fields:
        if not self._json:
            return {ITEM_ID: self._own_id(), ITEM_PAYLOAD: line}
        value = self._object(line)
        given = value.get(ITEM_PAYLOAD)
        payload = value.get("text") if given is None else given
        if payload is None:
            body = line
        else:
            self._note_unused(value, ITEM_PAYLOAD if given is not None else "text")
            text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
            body = self._encoded(ITEM_PAYLOAD, text)
        fields = {ITEM_ID: self._id(value.get(ITEM_ID)) or self._own_id(), ITEM_PAYLOAD: body}
        reply_to = value.get(ITEM_REPLY_TO)
        if reply_to is not None and not isinstance(reply_to, str):
            raise self._bad(f"{ITEM_REPLY_TO} is {json.dumps(reply_to)}; name a stream")
        if reply_to:
            fields[ITEM_REPLY_TO] = self._encoded(ITEM_REPLY_TO, reply_to)
        return fields

    def _own_id(self) -> bytes:
        return os.fsencode(self.name) + b":%d" % self._lines

    def _note_unused(self, value: dict[str, Any], payload: str) -> None:
        if not USED[payload].issuperset(value) and len(self.unused) < NAMES_KEPT:
            self.unused |= value.keys() - USED[payload]

    def _object(self, line: bytes) -> dict[str, Any]:
        try:
            value = from_json(line)
        except ValueError:
            value = self._slowly(line)
        if not isinstance(value, dict):
            raise self._bad(f'{type(value).__name__}, not an object; use {{"payload": ...}}')
        return value

    def _slowly(self, line: bytes) -> Any:
        """The value of a line by Python's own parser: it takes more, and says better what is wrong."""
        try:
            return json.loads(line.decode())
        except (ValueError, RecursionError) as exc:
            raise self._bad(
                f"not JSON ({why_no_json(exc)}); each line must be one JSON object in UTF-8"
            ) from exc

    def _id(self, value: object) -> bytes:
        if value is None or value == "":
            return b""
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise self._bad(f"{ITEM_ID} is {json.dumps(value)}; give text or a whole number")
        return self._encoded(ITEM_ID, str(value))

    def _encoded(self, field: str, text: str) -> bytes:
        try:
            return text.encode()
        except UnicodeEncodeError as exc:
            raise self._bad(f"{field} has half a surrogate pair, which is not text") from exc
