"""Handlers that use a secret of their fleet: at their import, at each batch, or badly."""

import os
import sys
import time
from collections.abc import Sequence

from pods.agent.handlers import Item

AT_IMPORT = os.environ.get("HF_TOKEN", "none")


def _said(batch: Sequence[Item]) -> list[str]:
    now = os.environ.get("HF_TOKEN", "none")
    return [f"{AT_IMPORT} {now} {os.getpid()} {item.payload.decode()}" for item in batch]


def told(batch: Sequence[Item]) -> list[str]:
    """The secret as it was at the import, as it is now, the process, and the payload."""
    return _said(batch)


def slow(batch: Sequence[Item]) -> list[str]:
    """The same, in 0.05 s for an item."""
    time.sleep(0.05 * len(batch))
    return _said(batch)


def leaks(batch: Sequence[Item]) -> list[str]:
    """Print the secret, and fail with it in the error and in the traceback."""
    secret = os.environ["HF_TOKEN"]
    print(f"the token is {secret}")  # noqa: T201
    sys.stderr.write(f"really {secret!r}\n")
    raise ValueError(f"cannot log in with {secret}")


class Hears:
    """Hears of other secrets, so that its process goes on."""

    def __init__(self) -> None:
        self.heard = 0

    def secrets_changed(self) -> None:
        """Count the changes."""
        self.heard += 1

    def __call__(self, batch: Sequence[Item]) -> list[str]:
        return [f"{self.heard} {text}" for text in _said(batch)]
