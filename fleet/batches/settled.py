"""Remembers which requests of a batch have their line in a file: one bit for each."""

from typing import Final

BITS: Final = 8


class Settled:
    """The requests that have their outcome. The first outcome of a request is the one that counts."""

    def __init__(self, stored: bytes | memoryview, total: int) -> None:
        """`stored`: as `stored()` gave it before."""
        self._bits = bytearray(bytes(stored).ljust((total + BITS - 1) // BITS, b"\0"))
        self._total = total

    def __contains__(self, number: int) -> bool:
        return bool(self._bits[number // BITS] >> number % BITS & 1)

    def settle(self, number: int) -> bool:
        """Settle a request; False: it is settled already, or the batch has no such request."""
        if not 0 <= number < self._total or number in self:
            return False
        self._bits[number // BITS] |= 1 << number % BITS
        return True

    def stored(self) -> bytes:
        """The bits, to be kept."""
        return bytes(self._bits)
