"""What fits into the GPU's memory, shared by the pods of a fleet through one hash in Redis."""

import hashlib
import logging
import os
import queue
from collections.abc import Callable, Mapping
from functools import partial

import redis

from pods.agent.control import Intent
from pods.agent.fitting import NO_LIMITS, parsed, smaller, written
from pods.agent.forming import Limits
from pods.agent.patience import GivenUp, Patience
from pods.agent.protocol import AgentSettings
from pods.agent.stream import Fenced, Stream
from pods.agent.warming import MODEL

log = logging.getLogger("podfleet.agent")

# NVML usually answers while the handler loads. A driver that hangs delays the first start by this time.
GPU_SECONDS = 10.0
TRIES = 5  # each lost one means that another pod has written meanwhile


class Remembering:
    """The limits of this agent's handler. Threads may share it.

    `gpu` waits up to so many seconds for the type of the GPU; "": not known, and nothing is shared.
    """

    def __init__(
        self,
        settings: AgentSettings,
        stream: Stream,
        patience: Patience,
        gpu: Callable[[float], str],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._stream, self._patience, self._gpu = stream, patience, gpu
        self._work = work_of(settings, environment)
        self._own = NO_LIMITS  # found by this agent's handler
        self._found: queue.SimpleQueue[Limits] = queue.SimpleQueue()

    def limits(self) -> Limits:
        """What fits as far as this agent and the others know, for a process that begins.

        One try: where the server does not answer, the process finds it out by itself.
        """
        field = self._field()
        if not field:
            return self._own
        try:
            known = parsed(*self._stream.fits(field))
        except (redis.RedisError, Fenced) as exc:
            log.warning("fits_not_read because=%r", str(exc))
            return self._own
        limits = smaller(self._own, known)
        if limits != NO_LIMITS:
            log.info("fits_read items=%d cost=%g field=%r", limits.items, limits.cost, field)
        return limits

    def found(self, limits: Limits) -> None:
        """Remember it, and let another thread share it: twice as much does not fit here."""
        self._own = limits
        self._found.put(limits)

    def share(self) -> None:
        """Write what is found, until the agent ends."""
        try:
            while True:
                write = partial(self._write, self._found.get())
                self._patience.with_("fits", write, until=Intent.DRAIN)
        except GivenUp:
            return

    def _write(self, limits: Limits, _tries: int) -> None:
        """Write the limits where they are smaller than what is known.

        An error that the server answers is not repeated: a manager of an older version lets no pod
        write this key.
        """
        field = self._field()
        if not field:
            return
        try:
            raw, now_ms = self._stream.fits(field)
            for _ in range(TRIES):
                known = parsed(raw, now_ms)
                less = smaller(known, limits)
                if less == known:
                    return
                wanted = written(less, now_ms)
                raw, now_ms = self._stream.fits(field, before=raw, after=wanted)
                if raw == wanted:
                    log.info("fits_written items=%d cost=%g field=%r", less.items, less.cost, field)
                    return
        except redis.ResponseError as exc:
            log.warning("fits_not_written because=%r", str(exc))

    def _field(self) -> str:
        gpu = self._gpu(GPU_SECONDS)
        return f"{self._work}:{gpu}" if gpu else ""


def work_of(settings: AgentSettings, environment: Mapping[str, str]) -> str:
    """16 hex digits that name the handler, its model and its template."""
    model = environment.get(MODEL, "")
    parts = [settings.template, settings.bundle, settings.handler, model]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
