"""Results of a handler of items as values of columns. The handler's process makes them.

It uses the standard library alone, so that a handler's process of items needs no pyarrow.
"""

import marshal
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Union

from pods.agent.calling import LARGEST_RESULT_BYTES, Failed, Outcome, encode
from pods.agent.handlers import Result

RESULT = "result"  # the column of a result that is not a dict
SMALLEST_INT, LARGEST_INT = -(2**63), 2**63 - 1
FLOAT_BYTES = 4


class Vector(NamedTuple):
    """A list of numbers as the bytes of float32."""

    raw: bytes

    def __len__(self) -> int:
        return len(self.raw) // FLOAT_BYTES


Cell = Union[None, bool, int, float, str, bytes, Vector]


def packed(result: Result) -> Outcome:
    """A result as bytes, of which `unpacked` makes columns again; or why it is not one."""
    if isinstance(result, BaseException):
        return Failed.of(result)
    try:
        if isinstance(result, Mapping):
            value: Any = {_name(key): _plain(cell) for key, cell in result.items()}
        else:
            value = {RESULT: _plain(result)}
        raw = marshal.dumps(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        return Failed.of(exc)
    if len(raw) > LARGEST_RESULT_BYTES:
        return Failed(f"a result of {len(raw)} bytes; at most {LARGEST_RESULT_BYTES} are written")
    return raw


def unpacked(raw: bytes) -> dict[str, Cell]:
    """The cells of a result, by column."""
    cells: dict[str, Cell] = marshal.loads(raw)  # noqa: S302 - from our own process's socket
    for name, cell in cells.items():
        if type(cell) is tuple:
            cells[name] = Vector(*cell)
    return cells


def _name(key: Any) -> str:
    """The name of a column. Half a surrogate pair, which no file can have, is escaped."""
    return str(key).encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    """What marshal takes: a vector is a tuple of its bytes."""
    if value is None or isinstance(value, (bool, float, str, bytes)):
        return value
    if isinstance(value, int):
        if not SMALLEST_INT <= value <= LARGEST_INT:
            raise OverflowError(f"{value} does not fit into 64 bits")
        return int(value)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return (_floats(value),) if _is_vector(value) else encode(value).decode()
    dimensions = getattr(value, "ndim", None)
    if dimensions == 0 and hasattr(value, "item"):
        return _plain(value.item())
    if dimensions == 1 and hasattr(value, "tolist"):
        return _of_array(value)
    return encode(value).decode()


def _of_array(value: Any) -> Any:
    # Arrow divides by the length of a vector, and dies of 0: an empty array is as an empty list.
    if len(value) and hasattr(value, "astype") and getattr(value.dtype, "kind", "") in "fiu":
        return (value.astype("<f4").tobytes(),)
    return _plain(value.tolist())


def _is_vector(value: Sequence[Any]) -> bool:
    return bool(value) and set(map(type, value)) <= {int, float}


def _floats(value: Sequence[Any]) -> bytes:
    return array("f", value).tobytes()
