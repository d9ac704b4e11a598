"""The contract between the agent and the user's handler."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, Union

from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD, ITEM_REPLY_TO


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
        """The data to work on. Empty where the item has none."""
        return self.fields.get(ITEM_PAYLOAD.encode(), b"")

    @property
    def text(self) -> str:
        """The payload as text.

        Raises:
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


def each(handler: F) -> F:
    """Mark a handler that takes one item and returns one result, instead of a batch.

    An `async def` with this mark works on the items of a batch at the same time.
    """
    handler.takes_one_item = True  # type: ignore[attr-defined]
    return handler
