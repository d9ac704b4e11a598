"""The fleet's secrets: read from Redis at the start, and again when the manager changed them."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import redis

from pods.agent import masking
from pods.agent.protocol import SECRET_PREFIX, SECRETS_VERSION, STORE_PREFIXES, Keys

log = logging.getLogger("podfleet.agent")

# A manager of an older version gives pods no right to read them. It may be upgraded meanwhile.
ASK_AGAIN_SECONDS = 60.0


class Held(NamedTuple):
    """The secrets of one version, by the names of environment variables. "": there are none."""

    version: str
    values: Mapping[str, str]


NOTHING = Held("", {})


class Secrets:
    """The secrets that were read last. Threads may share it."""

    def __init__(
        self,
        fleet: str,
        client: "redis.Redis",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = Keys(fleet).secrets
        self._client, self._clock = client, clock
        self._lock = threading.Lock()
        self._held = NOTHING
        self._refused_at: "float | None" = None
        self._changed: Callable[[], None] = lambda: None

    def now(self) -> Held:
        """What was read last."""
        return self._held

    def of_stores(self) -> Mapping[str, str]:
        """The secrets that a store needs."""
        return {n: v for n, v in self._held.values.items() if n.startswith(STORE_PREFIXES)}

    def when_changed(self, call: Callable[[], None]) -> None:
        """Call this after each change from now on."""
        self._changed = call

    @property
    def readable(self) -> bool:
        """Whether this pod's user may read them, as far as it is known."""
        return self._refused_at is None

    def read(self) -> None:
        """Read them. A key that is missing changes nothing: a server may have lost it.

        Raises:
            redis.RedisError: the server does not answer.
        """
        with self._lock:
            try:
                raw: "dict[bytes, bytes]" = self._client.hgetall(self.key)  # type: ignore[assignment]
            except redis.exceptions.NoPermissionError:
                self.refused()
                return
            self._refused_at = None
            held = parsed(raw)
            if held.version in {"", self._held.version}:
                return
            masking.know(held.values)
            self._held = held
        log.info("secrets_read version=%s names=%s", held.version, ",".join(sorted(held.values)))
        self._changed()

    def refused(self) -> None:
        """The server does not let this pod read them."""
        if self._refused_at is None:
            log.info("secrets_not_readable because=the manager is older than this agent")
        self._refused_at = self._clock()

    def saw(self, version: bytes) -> None:
        """Read them again if this is another version. Raises as `read`."""
        if version and version.decode("utf-8", "replace") != self._held.version:
            self.read()

    def ask_again(self) -> None:
        """Try again from time to time where they could not be read. Raises as `read`."""
        since = self._refused_at
        if since is not None and self._clock() - since > ASK_AGAIN_SECONDS:
            self.read()


def parsed(raw: "Mapping[bytes, bytes]") -> Held:
    """The secrets in a hash. A field that this version does not know is skipped."""
    text = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in raw.items()}
    cut = len(SECRET_PREFIX)
    values = {name[cut:]: v for name, v in text.items() if name.startswith(SECRET_PREFIX)}
    return Held(text.get(SECRETS_VERSION, ""), values)
