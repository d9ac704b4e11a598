"""A condition or a filter that is taken out, and what a test must have seen to be able to notice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ANY: Final = "a"  # the expression was evaluated; its truth was not looked at
TRUE: Final = "t"
FALSE: Final = "f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of one expression: `text` becomes `change`."""

    number: int  # while this number is on, the copy of the code runs the change
    file: str
    line: int
    function: str  # "" at the level of the module
    kind: str  # if, while, choice, operand, filter, returned, case, script
    text: str
    change: str
    again: int = 0  # the same text occurred so often before, in the same function
    # A test can notice the change only if it met one of these: a place, and what was seen there.
    # The first is what the change is about; the others count because to evaluate it may do something.
    seen_as: Sequence[tuple[int, str]] = ()
    stamp: str = ""  # of the function around it: another stamp, another function
    script: str = ""  # for a Lua script: its whole text with the change

    @property
    def name(self) -> str:
        """What stays the same while other lines of the file change."""
        again = f" (no. {self.again + 1})" if self.again else ""
        where = f"{self.file} {self.function}".strip()
        return f"{where}: {self.text} -> {self.change}{again}"
