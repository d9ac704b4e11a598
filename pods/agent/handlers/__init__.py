"""What a handler is: the contract between the agent and the user's code."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, Union

from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD, ITEM_REPLY_TO


class Item(NamedTuple):
    """One item as the handler sees it. Bytes stay bytes: decoding is the handler's choice."""

    entry: str
    fields: Mapping[bytes, bytes]

    @property
    def id(self) -> str:
        """The user's own id, else the entry id."""
        own = self.fields.get(ITEM_ID.encode())
        return own.decode("utf-8", "replace") if own else self.entry

    @property
    def payload(self) -> bytes:
        """What is to be worked on; empty where the item has none."""
        return self.fields.get(ITEM_PAYLOAD.encode(), b"")

    @property
    def text(self) -> str:
        """The payload as text.

        Raises:
            UnicodeDecodeError: it is not UTF-8; the item fails, its neighbours do not.
        """
        return self.payload.decode()

    @property
    def reply_to(self) -> str:
        """The stream that wants the result; empty: the fleet's."""
        return self.fields.get(ITEM_REPLY_TO.encode(), b"").decode("utf-8", "replace")


# bytes and str are stored as they are; anything else as JSON; an Exception fails that item alone.
Result = Any
BatchHandler = Callable[[Sequence[Item]], Union[Sequence[Result], Awaitable[Sequence[Result]]]]
ItemHandler = Callable[[Item], Union[Result, Awaitable[Result]]]

F = TypeVar("F", bound=ItemHandler)


def each(handler: F) -> F:
    """Mark a handler that takes one item and returns one result, instead of a batch.

    An `async def` marked so works on the items of a batch at the same time.
    """
    handler.takes_one_item = True  # type: ignore[attr-defined]
    return handler
