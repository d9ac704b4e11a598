"""A fleet's numbers as operators read them; durations, money and rates: pods/base/words.py."""

from typing import Final

from pods.base.words import duration, per_second, usd

__all__ = ["depth", "duration", "items", "per_second", "printable", "spaced", "tail", "usd"]

LONGEST_TAIL: Final = 4000


def depth(count: int | None, *, estimated: bool = False) -> str:
    """`12,345`, `about 12,345`, `unknown`."""
    if count is None:
        return "unknown"
    return f"{'about ' if estimated else ''}{count:,}"


def items(count: int) -> str:
    """`950`, `12.3 k`, `60.0 M`."""
    if count < 10_000:
        return f"{count:,}"
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    raise AssertionError("every count of 10,000 and more has a unit")


def spaced(name: str) -> str:
    """`stop_all` as `stop all`."""
    return name.replace("_", " ")


def printable(text: str, *, lines: bool = False) -> str:
    """Text from outside, with its control characters written out; `lines`: it keeps its lines."""
    return "".join(
        c if c.isprintable() or (lines and c in "\n\t") else c.encode("unicode_escape").decode()
        for c in text
    )


def tail(text: str) -> str:
    """The end of a long text from outside, with its lines: the end of a traceback says the most."""
    cut = text[-LONGEST_TAIL:]
    return printable(f"…{cut}" if len(cut) < len(text) else cut, lines=True)
