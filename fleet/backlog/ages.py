"""The age of an entry of a stream, from its id."""

from datetime import timedelta
from typing import Final

# Ids that people choose (1-1, 2-1 ...) are not times.
OLDEST_BELIEVED: Final = timedelta(days=3650)
CLOCK_STEP: Final = timedelta(minutes=1)


def age_of(entry: bytes | None, *, seconds: int, microseconds: int) -> timedelta | None:
    """How long before this moment of the server an entry was added; None if its id is not a time."""
    if entry is None:
        return None
    milliseconds = int(entry.partition(b"-")[0])
    now = seconds * 1000 + microseconds // 1000
    if milliseconds - now > CLOCK_STEP / timedelta(milliseconds=1):
        return None
    if now - milliseconds > OLDEST_BELIEVED / timedelta(milliseconds=1):
        return None
    return timedelta(milliseconds=max(0, now - milliseconds))
