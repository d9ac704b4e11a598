"""When a task was sent: Celery does not say it, so each message has it in a header of ours."""

import json
import time
from typing import Any, Final

HEADER: Final = "podfleet_sent_at"


def stamp(headers: dict[str, Any]) -> None:
    """Write the time into the headers of a task that is about to be sent."""
    headers[HEADER] = time.time()


def age_of(message: bytes | None) -> float | None:
    """For how many seconds a message of a queue has waited.

    0 without a message. None if the message lacks the time: an older version sent it.
    """
    if message is None:
        return 0.0
    try:
        sent = json.loads(message)["headers"][HEADER]
        return max(0.0, time.time() - float(sent))
    except (ValueError, TypeError, LookupError):
        return None
