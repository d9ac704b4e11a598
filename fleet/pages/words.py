"""A fleet's numbers as operators read them; durations, money and rates: pods/base/words.py."""

from pods.base.words import duration, per_second, usd

__all__ = ["depth", "duration", "items", "per_second", "spaced", "usd"]


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
