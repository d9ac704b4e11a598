"""A handler as a user may write it, who has nothing of ours but the agent's wheel."""

from collections.abc import Sequence
from typing import Any


def upper(batch: Sequence[Any]) -> list[bytes]:
    return [item.payload.upper() for item in batch]
