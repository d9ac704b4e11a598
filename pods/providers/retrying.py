"""Which vendor calls are retried, and when."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import stamina

from pods.providers.errors import RateLimited, Unavailable

TRIES: Final = 3
# A worker waits no longer than this for a rate limit. After that the caller's task comes back.
LONGEST_WAIT_SECONDS: Final = 2.0

T = TypeVar("T")


def repeated(once: Callable[[], T], *, total: float) -> T:
    """The first usable answer of a few tries within `total` seconds, else the last error.

    Only for calls that may be sent twice. After a short rate limit the call is retried.
    """
    for attempt in stamina.retry_context(
        on=_pause, attempts=TRIES, timeout=total, wait_initial=0.25, wait_max=3.0, wait_jitter=0.5
    ):
        with attempt:
            return once()
    raise AssertionError("stamina ends with an answer or an error")


def _pause(exc: Exception) -> bool | float:
    """Whether to try again, or after how many seconds."""
    if isinstance(exc, RateLimited):
        wait = exc.retry_after
        return wait if wait is not None and wait <= LONGEST_WAIT_SECONDS else False
    return isinstance(exc, Unavailable)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: from `Retry-After` in either form, else from Vast.ai's time of the reset."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value).replace(tzinfo=UTC).timestamp()
    except (ValueError, TypeError):
        when = None
    reset = headers.get("x-ratelimit-reset", "").strip()
    if when is None and re.fullmatch(r"\d{9,11}(\.\d+)?", reset):
        when = float(reset)
    return None if when is None else max(0.0, when - time.time())
