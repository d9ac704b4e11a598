"""How much may be asked for now, beside what other reads under way have asked for."""

from typing import NamedTuple

from pods.agent.stream import LARGEST_STEP, LARGEST_TAKE_BYTES

# A call brings at most LARGEST_STEP items in a round trip. Where a handler takes more than that, several
# reads are under way. So many bytes are enough for small items. Of large ones a single read brings
# LARGEST_TAKE_BYTES in a round trip, so that they never need a further read.
FURTHER_READ_BYTES = 8 * 1024 * 1024


class Ask(NamedTuple):
    """What one read may ask for. Both are 0 where nothing fits."""

    items: int
    max_bytes: int


NOTHING = Ask(0, 0)


class Hand(NamedTuple):
    """What the agent has, and what it should have."""

    ahead: int  # items that should be ready or asked for
    ready: int
    held: int
    most: int  # items in hand
    free_bytes: int


class Room:
    """Keeps what the reads under way have asked for. It has no lock: its owner has one."""

    def __init__(self) -> None:
        self._items = self._bytes = 0
        self._more = False  # the last read brought as many items as a call may

    def items(self, hand: Hand) -> int:
        """How many items are missing. 0 or less: none."""
        return min(hand.ahead - hand.ready, hand.most - hand.held) - self._items

    def bytes(self, hand: Hand) -> int:
        """How many bytes of items may still be asked for."""
        return max(0, hand.free_bytes - self._bytes)

    def free(self, hand: Hand) -> Ask:
        """What a read may ask for now."""
        items = self.items(hand)
        if (hand.ready or self._items) and items < min(hand.ahead // 2, LARGEST_STEP):
            return NOTHING  # wait for more room, because a round trip for few items costs as much
        ask = Ask(min(items, LARGEST_STEP), min(self.bytes(hand), LARGEST_TAKE_BYTES))
        return ask if ask.items > 0 and ask.max_bytes else NOTHING

    def further(self, hand: Hand) -> Ask:
        """What one more read may ask for beside those under way: a whole call, where there is more."""
        items, max_bytes = self.free(hand)
        enough = self._more and items == LARGEST_STEP and max_bytes >= FURTHER_READ_BYTES
        return Ask(items, FURTHER_READ_BYTES) if enough else NOTHING

    def ask(self, ask: Ask) -> None:
        """A read begins."""
        self._items += ask.items
        self._bytes += ask.max_bytes

    def over(self, ask: Ask) -> None:
        """A read is over, and what it brought is in hand."""
        self._items -= ask.items
        self._bytes -= ask.max_bytes

    def brought(self, items: int) -> None:
        """A read brought so many items."""
        self._more = items >= LARGEST_STEP
