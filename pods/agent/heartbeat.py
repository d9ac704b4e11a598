"""The agent's heartbeat: reports progress, reads commands, and notices when the manager is gone."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import redis

from pods.agent.control import Control, Intent
from pods.agent.progress import Progress
from pods.agent.protocol import (
    HEARTBEAT_TTL_SECONDS,
    AgentSettings,
    AgentState,
    Command,
    Heartbeat,
    Keys,
)
from pods.agent.secrets import Secrets
from pods.agent.stream import Scripts, connect

log = logging.getLogger("podfleet.agent")

EXIT_FENCED = 4
EXIT_ORPHANED = 5
# A beat that hangs must not delay the next one for long.
SOCKET_TIMEOUT_SECONDS = 5.0


class WorkInHand(Protocol):
    """The work in hand: items of the stream, or tasks of a Celery worker."""

    def __len__(self) -> int: ...
    def idle_ms(self) -> int: ...  # noqa: D102
    def held_ms(self) -> int: ...  # noqa: D102
    def oldest_ms(self) -> int: ...  # noqa: D102


class Lease:
    """Watches the manager's counter, and measures on our own clock when it last changed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._value: bytes | None = None
        self._moved = clock()

    def saw(self, value: bytes) -> None:
        """Take in a reading. A first reading shows a living manager only if there is a counter."""
        if value != self._value and value:
            self._moved = self._clock()
        self._value = value

    def unchanged_seconds(self) -> float:
        """For how long nothing has shown that a manager lives, also while Redis cannot be reached."""
        return self._clock() - self._moved


class Beating:
    """A thread that sends heartbeats until it is closed."""

    def __init__(
        self,
        settings: AgentSettings,
        progress: Progress,
        holding: WorkInHand,
        control: Control,
        measures: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._settings, self._measures = settings, measures
        self._progress, self._holding, self._control = progress, holding, control
        keys = Keys(settings.fleet)
        self._keys = [
            keys.pod(settings.pod),
            keys.command(settings.pod),
            keys.lease,
            keys.fence(settings.pod),
        ]
        client = connect(
            settings.redis_url, ca=settings.redis_ca, socket_timeout=SOCKET_TIMEOUT_SECONDS
        )
        self._scripts, self.secrets = Scripts(client), Secrets(settings.fleet, client)
        self._lease = Lease()
        self._closing = threading.Event()
        self.state = AgentState.STARTING
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Send heartbeats from now on."""
        self._thread.start()

    def close(self, state: AgentState) -> None:
        """Send a final heartbeat with this state, and stop."""
        self._closing.set()
        self._thread.join(SOCKET_TIMEOUT_SECONDS)
        self.state = state
        self._beat()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._beat()
            if self._lease.unchanged_seconds() > self._settings.orphan_seconds:
                because = f"no manager for {self._settings.orphan_seconds:g} s"
                if self._control.ask(Intent.DRAIN, because, exit_code=EXIT_ORPHANED):
                    log.error("orphaned because=%r", because)
            self._closing.wait(self._settings.heartbeat_seconds)

    def _beat(self) -> None:
        fields = self._now().fields()
        flat = [part for pair in fields.items() for part in pair]
        try:
            command, lease, fenced, _, *version = self._send([HEARTBEAT_TTL_SECONDS * 1000, *flat])
        except redis.RedisError as exc:
            # While the agent works, the server may have restarted, and will know us again. At the
            # end it will not.
            if isinstance(exc, redis.AuthenticationError) and not self._control.working:
                self._control.ask(Intent.FENCED, f"refused: {exc}", exit_code=EXIT_FENCED)
            self._progress.trouble("heartbeat", f"{type(exc).__name__}: {exc}")
            log.warning("heartbeat_failed because=%r", str(exc))
            return
        self._progress.over("heartbeat")
        self._lease.saw(lease)
        if fenced:
            self._control.ask(Intent.FENCED, "this pod is written off", exit_code=EXIT_FENCED)
        elif command == Command.DRAIN.value.encode():
            self._control.ask(Intent.DRAIN, "the manager asked")
        elif command == Command.STOP.value.encode():
            self._control.ask(Intent.STOP, "the manager asked")
        self._take_secrets(version)

    def _send(self, args: Sequence[Any]) -> Any:
        """The answer to a heartbeat. A manager of an older version lets no pod read secrets."""
        if self.secrets.readable:
            try:
                return self._scripts.call("heartbeat", [*self._keys, self.secrets.key], args)
            except redis.exceptions.NoPermissionError:
                self.secrets.refused()
        return self._scripts.call("heartbeat", self._keys, args)

    def _take_secrets(self, version: Sequence[bytes]) -> None:
        try:
            if version:
                self.secrets.saw(version[0])
            else:
                self.secrets.ask_again()
        except redis.RedisError as exc:  # the next beat sees the same version
            log.warning("secrets_not_read because=%r", str(exc))

    def _now(self) -> Heartbeat:
        counts = self._progress.counts()
        return Heartbeat(
            state=self.state,
            done=counts.done,
            failed=counts.failed,
            dead=counts.dead,
            duplicates=counts.duplicates,
            failing=self._progress.failing,
            final=self._progress.final,
            gone=counts.gone,
            claimed=counts.claimed,
            in_flight=len(self._holding),
            idle_ms=self._holding.idle_ms(),
            held_ms=self._holding.held_ms(),
            since_ack_ms=self._progress.since_ack_ms(),
            oldest_ms=self._holding.oldest_ms(),
            uptime_ms=self._progress.uptime_ms(),
            rate=round(self._progress.rate(), 3),
            handler=self._settings.handler,
            host=socket.gethostname(),
            note=self._progress.note,
            **self._measures(),
        )
