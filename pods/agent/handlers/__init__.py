"""The contract between the agent and the user's handler."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, Union

from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD, ITEM_REPLY_TO

PAYLOAD = ITEM_PAYLOAD.encode()
# An item may have thousands of fields, and an error is one line.
MOST_NAMED = 20


class MissingField(KeyError):
    """The item has no field of this name. No other try can help, so the item becomes a dead letter."""

    def __init__(
        self, name: bytes, fields: Iterable[bytes], *, of_payload: Iterable[bytes] = ()
    ) -> None:
        """`of_payload`: the keys of its payload, where it is a JSON object that was searched too."""
        super().__init__(name)
        self._present, self._of_payload = sorted(fields), sorted(of_payload)

    def __str__(self) -> str:
        """Name the missing field, and some of those that are there."""
        said = f"the item has no field {_shown(self.args[0])}; it has {_listed(self._present)}"
        inside = f", and its payload has {_listed(self._of_payload)}" if self._of_payload else ""
        return said + inside


class BadItem(Exception):
    """The item cannot be worked on, whoever tries. It becomes a dead letter with this message."""


class Fields(dict[bytes, bytes]):
    """The fields of an item. To ask for one that is missing fails the item, and names what it has."""

    __slots__ = ()

    def __missing__(self, name: bytes) -> bytes:
        """Fail.

        Raises:
            MissingField: always.
        """
        raise MissingField(name, self)


class Item(NamedTuple):
    """One item as the handler gets it. Bytes stay bytes, and the handler decodes them."""

    entry: str
    fields: Mapping[bytes, bytes]

    @property
    def id(self) -> str:
        """The user's own id, else the entry id."""
        own = self.fields.get(ITEM_ID.encode())
        return own.decode("utf-8", "replace") if own else self.entry

    @property
    def payload(self) -> bytes:
        """The data to work on.

        Raises:
            MissingField: the item has none. It becomes a dead letter.
        """
        try:
            return self.fields[PAYLOAD]
        except MissingField:
            raise
        except KeyError:  # an item that a test of the handler made from a plain dict
            raise MissingField(PAYLOAD, self.fields) from None

    @property
    def text(self) -> str:
        """The payload as text.

        Raises:
            MissingField: the item has no payload. It becomes a dead letter.
            UnicodeDecodeError: it is not UTF-8. This item fails, and no other one.
        """
        return self.payload.decode()

    @property
    def reply_to(self) -> str:
        """The stream that gets the result. Empty: the fleet's stream."""
        return self.fields.get(ITEM_REPLY_TO.encode(), b"").decode("utf-8", "replace")


# bytes and str are stored unchanged, anything else as JSON. An Exception fails that item alone.
Result = Any
BatchHandler = Callable[[Sequence[Item]], Union[Sequence[Result], Awaitable[Sequence[Result]]]]
ItemHandler = Callable[[Item], Union[Result, Awaitable[Result]]]

F = TypeVar("F", bound=ItemHandler)
C = TypeVar("C")


def each(handler: F) -> F:
    """Mark a handler that takes one item and returns one result, instead of a batch.

    An `async def` with this mark works on the items of a batch at the same time.
    """
    handler.takes_one_item = True  # type: ignore[attr-defined]
    return handler


def columns(handler: C) -> C:
    """Mark a handler that takes a pyarrow RecordBatch and returns one with as many rows.

    Only a fleet that works on a dataset has such handlers. The ids are the first column, `id`.
    """
    handler.takes_columns = True  # type: ignore[attr-defined]
    return handler


def _listed(names: Sequence[bytes]) -> str:
    shown = [*map(_shown, names[:MOST_NAMED])]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") or "none"


def _shown(name: object) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else repr(name)
