"""Makes columns of the values of JSON rows. A value that fits no column makes its row a bad one."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Union

import pyarrow as pa

from pods.agent.dataset.rows import why_no_row

# Arrow neither writes nor reads a batch whose values are nested deeper than 64 levels.
DEEPEST = 60
# Of true and false behind a fraction Arrow makes 1.0 and 0.0; behind a whole number it refuses them.
MADE_NUMBERS = {bool, float}
REFUSES = (pa.ArrowException, OverflowError, UnicodeError, RecursionError)


def column_of(values: Sequence[Any], name: str, bad: dict[int, str]) -> pa.Array:
    """The values as a column. Those that do not fit are null, and `bad` says why.

    Of values of several types those stay that most rows have; the first ones, if none has more.
    """
    try:
        made = pa.array(values)
    except REFUSES:
        return _fitting(values, name, bad)
    if _depth(made.type) <= DEEPEST and not MADE_NUMBERS.issubset(map(type, values)):
        return made
    return _fitting(values, name, bad)


def refuse_names(
    values: Sequence[dict[str, Any]], names: Sequence[str], bad: dict[int, str]
) -> list[str]:
    """The names that are text. A row that has another one is bad."""
    found = []
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            for n in (n for n, value in enumerate(values) if name in value):
                bad.setdefault(n, why_no_row(exc))
        else:
            found.append(name)
    return found


def _fitting(values: Sequence[Any], name: str, bad: dict[int, str]) -> pa.Array:
    kinds = [_kind(value) for value in values]
    fit = [
        (_family(value), kind)
        for value, kind in zip(values, kinds, strict=True)
        if value is not None and not isinstance(kind, str)
    ]
    most = [family for family, _ in Counter(family for family, _ in fit).most_common(1)]
    common = Counter[pa.DataType](kind for family, kind in fit if family in most)
    first = {kind: value for value, kind in zip(reversed(values), reversed(kinds), strict=True)}
    ordered = [kind for kind, _ in common.most_common()]
    together = _together([], [first[kind] for kind in ordered])
    stay = {kind for kind in ordered if any(first[kind] is value for value in together)}
    try:
        made = _array(values, kinds, stay)
    except REFUSES:  # it depends on the value: a float cannot hold a large whole number
        stay = set(ordered[:1])
        made = _array(values, kinds, stay)
    for n, (value, kind) in enumerate(zip(values, kinds, strict=True)):
        if isinstance(kind, str):
            bad.setdefault(n, f"{name!r}: {kind}")
        elif value is not None and kind not in stay:
            why = f"{name!r} is a {type(value).__name__}, and other rows have {made.type}"
            bad.setdefault(n, why)
    return made


def _array(values: Sequence[Any], kinds: Sequence[Any], stay: set[pa.DataType]) -> pa.Array:
    return pa.array([v if k in stay else None for v, k in zip(values, kinds, strict=True)])


def _kind(value: Any) -> Union[pa.DataType, str]:
    """The type of a column of this value alone, or why it is in none."""
    try:
        kind = pa.array([value]).type
    except REFUSES as exc:
        return why_no_row(exc)
    return kind if _depth(kind) <= DEEPEST else why_no_row(RecursionError())


def _family(value: Any) -> type:
    return float if type(value) is int else type(value)


def _together(kept: list[Any], more: list[Any]) -> list[Any]:
    """As many of these values as make one column, the first ones before the others."""
    try:
        pa.array(kept + more)
    except REFUSES:
        if len(more) == 1:
            return kept
        middle = len(more) // 2
        return _together(_together(kept, more[:middle]), more[middle:])
    return kept + more


def _depth(kind: pa.DataType) -> int:
    """How many lists and objects are around the innermost value, and it."""
    deepest, level = 0, [kind]
    while level:
        deepest += 1
        level = [one.field(n).type for one in level for n in range(getattr(one, "num_fields", 0))]
    return deepest
