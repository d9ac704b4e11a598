"""Finds and cuts a damaged end of the append-only file of the embedded server."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

# A line of the manifest: `file appendonly.aof.1.incr.aof seq 1 type i`.
LAST_FILE: Final = re.compile(r"^file (\S+) seq (\d+) type i\b", re.MULTILINE)
COMMAND: Final = re.compile(rb"\*[1-9]\d{0,9}\r\n\$\d{1,10}\r\n")
LONGEST_HEADER: Final = 32  # `*` or `$`, a number, and the line's end
BLOCK: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The end that was cut off, and where the whole file is kept."""

    file: Path
    copy: Path
    kept_bytes: int
    cut_bytes: int


class DamagedInside(Exception):
    """The file is damaged before other whole commands; the message says what to do."""


class _Damaged(Exception):
    """The bytes here are not a whole command."""


def mend(folder: Path) -> Cut | None:
    """Cut the damaged end of the newest file off, and keep a copy; None if it is not damaged.

    Nothing that can be read is lost. Call this only while no server uses the folder.

    Raises:
        DamagedInside: whole commands follow the damage. Nothing was changed.
    """
    file = _newest(folder)
    if file is None:
        return None
    size = file.stat().st_size
    with file.open("rb") as source:
        kept = _readable(source)
        if kept == size:
            return None
        if _commands_after(source, kept):
            raise DamagedInside(
                f"{file} is damaged at byte {kept} of {size}, and whole commands follow. Nothing was "
                "changed. Put a good copy in its place. To go on without what follows the damage, "
                f"keep a copy and cut the file: truncate --size={kept} {file}"
            )
    copy = _unused(file.parent.parent / f"{file.name}.damaged")
    shutil.copy2(file, copy)
    with file.open("r+b") as target:
        target.truncate(kept)
    return Cut(file=file, copy=copy, kept_bytes=kept, cut_bytes=size - kept)


def _newest(folder: Path) -> Path | None:
    """The file that the server appended to last, as its manifest names it."""
    try:
        [manifest] = folder.glob("*.manifest")
        listed = LAST_FILE.findall(manifest.read_text(errors="replace"))
    except (OSError, ValueError):
        return None
    if not listed:
        return None
    name, _ = max(listed, key=lambda found: int(found[1]))
    file = folder / name
    return file if file.is_file() else None


def _readable(source: BinaryIO) -> int:
    """How many bytes from the start are whole commands."""
    source.seek(0)
    end = 0
    try:
        while source.peek(1):  # type: ignore[attr-defined]  # a file opened with "rb" has it
            _read_command(source)
            end = source.tell()
    except _Damaged:
        pass
    return end


def _read_command(source: BinaryIO) -> None:
    """Read one command, or one note of the server, such as `#TS:1764452887`.

    Raises:
        _Damaged: there is none.
    """
    line = _line(source)
    if line.startswith(b"#"):
        return
    for _ in range(_number(line, b"*")):
        left = _number(_line(source), b"$")
        while left and (block := source.read(min(left, BLOCK))):
            left -= len(block)
        if left or source.read(2) != b"\r\n":
            raise _Damaged


def _line(source: BinaryIO) -> bytes:
    line = source.readline(LONGEST_HEADER)
    if not line.endswith(b"\r\n"):
        raise _Damaged
    return line[:-2]


def _number(line: bytes, kind: bytes) -> int:
    digits = line.removeprefix(kind)
    if digits == line or not digits.isdigit():
        raise _Damaged
    return int(digits)


def _commands_after(source: BinaryIO, damaged: int) -> bool:
    """Whether a whole command can be read behind the damaged one."""
    return any(_is_command(source, start) for start in _beginnings(source, damaged + 1))


def _is_command(source: BinaryIO, start: int) -> bool:
    here = source.tell()
    try:
        source.seek(start)
        _read_command(source)
    except _Damaged:
        return False
    finally:
        source.seek(here)
    return True


def _beginnings(source: BinaryIO, start: int) -> Iterator[int]:
    """Where a command seems to begin."""
    source.seek(start)
    before, at = b"", start
    while block := source.read(BLOCK):
        text = before + block
        for found in COMMAND.finditer(text):
            yield at - len(before) + found.start()
        at += len(block)
        before = text[-LONGEST_HEADER:]


def _unused(path: Path) -> Path:
    """This path, or the first one with a number behind it that is free."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
