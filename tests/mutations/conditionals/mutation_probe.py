"""In a copy of the checkout: which mutant is on, and what a test saw at which condition.

The rewritten modules import this file from a folder beside the copy.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

FOLDER = Path(__file__).resolve().parent
ON, RECORD = FOLDER / "on", FOLDER / "record"
T = TypeVar("T")


def read(path: Path) -> str:
    """The text of a file, or ""."""
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


class Probe:
    """Knows the number of the mutant that is on (-1 for none), and records what is seen."""

    on: int

    def __init__(self) -> None:
        self.on = int(read(ON) or -1)
        self.begin(read(RECORD))

    def begin(self, path: str) -> None:
        """Record what is seen from now on in this file; "" for nowhere."""
        self.path, self.seen = path, set[str]()

    def saw(self, place: int, value: T) -> T:
        """Return the value; record whether it was true."""
        if self.path:
            self._note(f"{place}t" if value else f"{place}f")
        return value

    def met(self, place: int, value: T) -> T:
        """Return the value; record that it was evaluated."""
        if self.path:
            self._note(f"{place}a")
        return value

    def _note(self, word: str) -> None:
        if word not in self.seen:
            self.seen.add(word)
            # Another process may have ended the recording; a program of another user may not write.
            with suppress(OSError):
                file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
                os.write(file, f"{word}\n".encode("ascii"))
                os.close(file)


PROBE = Probe()
