"""The agent of a Celery workload: runs the user's own worker, sends its heartbeat, and ends it."""

import contextlib
import json
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping

from pods.agent.celery_child import send_secrets
from pods.agent.control import Control, Intent
from pods.agent.heartbeat import EXIT_FENCED, Beating
from pods.agent.held_time import HeldTime
from pods.agent.measures import Measured, Measures
from pods.agent.patience import GivenUp, Patience
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings, AgentState
from pods.agent.shares import Doing, Shares

log = logging.getLogger("podfleet.agent")

ARGUMENTS_VARIABLE = "PODFLEET_CELERY_ARGS"
EXIT_BROKEN = 3
TELL_AGAIN_SECONDS = 10.0
LOOK_SECONDS = 0.1
# Between SIGQUIT, which asks for a cold shutdown, and SIGKILL.
COLD_SECONDS = 5.0
LAST_REPORT_SECONDS = 1.0  # of a worker that has ended
# A worker that ended by itself is started again after a pause. It is broken if it did not get ready
# this many times in a row.
RESTART_SECONDS = 1.0
MOST_FAILED_STARTS = 3
FINAL_BEATS = 5


class Hand:
    """The tasks that the worker has in hand, as it reports them."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._clock = progress, clock
        self._shares = Shares(clock)
        self._in_hand = self._done = 0
        self._idle_since: float | None = clock()
        self._busy_since = clock()
        self._held_time = HeldTime(clock)
        self.ready = False
        self.broken = ""

    def begin(self) -> None:
        """A new worker begins, without tasks."""
        self._done, self.ready = 0, False
        self._shares.does(Doing.STARTING)
        self._hold(0)

    def saw(self, said: Mapping[str, object]) -> None:
        """Take in a report of the worker."""
        self.broken = str(said.get("broken", ""))
        self.ready = bool(said.get("ready"))
        done, in_hand = said.get("done", 0), said.get("in_hand", 0)
        if isinstance(done, int) and done > self._done:
            self._progress.add(done=done - self._done)
            self._done, self._busy_since = done, self._clock()
            self._idle_since = None if self._idle_since is None else self._clock()
        if isinstance(in_hand, int):
            self._hold(in_hand)
        if self.ready:
            self._shares.does(Doing.BUSY if said.get("active") else Doing.WAITING)

    def _hold(self, in_hand: int) -> None:
        if in_hand and not self._in_hand:
            self._idle_since, self._busy_since = None, self._clock()
        elif not in_hand and (self._in_hand or not self.ready):
            self._idle_since = self._clock()
        self._in_hand = in_hand
        self._held_time.holds(bool(in_hand))

    def measured(self) -> Measured:
        """The shares of the time with a task under way. Nobody knows what a worker waits for."""
        shares = self._shares.now()
        return {name: shares.get(name) for name in ("busy", "starting")}

    def __len__(self) -> int:
        return self._in_hand

    def idle_ms(self) -> int:
        """Milliseconds since it last had a task in hand. 0 while it has one."""
        since = self._idle_since
        return 0 if since is None else int((self._clock() - since) * 1000)

    def held_ms(self) -> int:
        """Milliseconds in which it had a task in hand, all times together."""
        return self._held_time.ms()

    def oldest_ms(self) -> int:
        """Milliseconds since it last finished a task while it has tasks in hand. 0 with none in hand."""
        return int((self._clock() - self._busy_since) * 1000) if self._in_hand else 0


class CeleryAgent:
    """One agent that runs the user's worker instead of a handler."""

    def __init__(self, settings: AgentSettings, control: Control) -> None:
        self._settings, self._control = settings, control
        self._progress = Progress()
        self._hand = Hand(self._progress)
        self._measures = Measures(self._hand.measured)
        self._beating = Beating(settings, self._progress, self._hand, control, self._measures.now)
        self._worker: subprocess.Popen[bytes] | None = None
        self._given = ""  # the version of the secrets that the worker has
        self._patience = Patience(self._progress, control, EXIT_FENCED)

    def run(self) -> int:
        """Work until something asks for the end. Returns the exit code."""
        self._measures.start()
        self._beating.start()
        with contextlib.suppress(GivenUp):
            read = self._beating.secrets.read
            self._patience.with_("secrets", lambda _: read(), until=Intent.DRAIN)
        failed_starts = 0
        while self._control.working:
            status = self._work()
            if not self._control.working:
                break
            if self._outdated:
                continue
            failed_starts = 0 if self._hand.ready else failed_starts + 1
            why = self._hand.broken or f"the Celery worker ended by itself with status {status}"
            log.error("worker_ended because=%r", why)
            self._progress.trouble("handler", why)
            if self._hand.broken or failed_starts == MOST_FAILED_STARTS:
                return self._fail()
            self._control.wait_beyond(Intent.WORK, RESTART_SECONDS)
        self._beating.state = AgentState.DRAINING
        self._end_worker()
        self._beating.close(AgentState.DRAINED)
        log.info("agent_ended exit_code=%d", self._control.exit_code)
        return self._control.exit_code

    def _work(self) -> int | None:
        """Start the worker, and wait until it ends or an end is asked for."""
        self._hand.begin()
        ours, theirs = socket.socketpair()
        with theirs:
            settings = self._settings
            command = [sys.executable, "-m", "pods.agent.celery_child", str(theirs.fileno())]
            command += [settings.celery_app, "worker", "-Q", settings.stream]
            command += ["-n", f"{settings.pod}@%h"]
            command += shlex.split(os.environ.get(ARGUMENTS_VARIABLE, ""))
            worker = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._worker = worker
        given = self._beating.secrets.now()
        self._given, tell_at = given.version, 0.0
        with contextlib.suppress(OSError):  # it ended already
            send_secrets(ours, given.values)
        listener = threading.Thread(target=self._listen, args=(ours,), daemon=True)
        listener.start()
        while worker.poll() is None:
            if self._hand.ready and self._beating.state is AgentState.STARTING:
                self._beating.state = AgentState.WORKING
                log.info("agent_working queue=%s", self._settings.stream)
            if self._hand.ready:
                self._progress.over("handler")
                if self._outdated and time.monotonic() >= tell_at:
                    tell_at = time.monotonic() + TELL_AGAIN_SECONDS
                    log.info("worker_restarted because=secrets_changed")
                    # warm: it finishes what it has, and takes no more, however often it is told
                    self._tell(signal.SIGTERM)
            if self._control.wait_beyond(Intent.WORK, LOOK_SECONDS):
                return None
        self._signal(signal.SIGKILL)  # processes that its pool may have left
        listener.join(LAST_REPORT_SECONDS)
        return worker.wait()

    @property
    def _outdated(self) -> bool:
        """Whether the worker has other secrets than the fleet has now."""
        return self._given != self._beating.secrets.now().version

    def _listen(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as lines, contextlib.suppress(OSError, ValueError):
            for line in lines:
                self._hand.saw(json.loads(line))

    def _end_worker(self) -> None:
        """End the worker: first a warm shutdown, then a cold one, then a kill. A fenced pod: a kill."""
        worker = self._worker
        if worker is None:
            return
        if self._control.intent is Intent.DRAIN:
            self._tell(signal.SIGTERM)
            deadline = time.monotonic() + self._settings.drain_seconds
            while worker.poll() is None and time.monotonic() < deadline:
                if self._control.wait_beyond(Intent.DRAIN, LOOK_SECONDS):
                    break
        if self._control.intent <= Intent.STOP:
            self._tell(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(COLD_SECONDS)
        self._signal(signal.SIGKILL)
        worker.wait()

    def _tell(self, number: signal.Signals) -> None:
        """Signal the worker's main process alone. Its pool must not end before that says so."""
        if self._worker is not None and self._worker.poll() is None:
            self._worker.send_signal(number)

    def _signal(self, number: signal.Signals) -> None:
        if self._worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._worker.pid, number)

    def _fail(self) -> int:
        self._beating.state = AgentState.FAILED
        self._control.wait_beyond(Intent.WORK, FINAL_BEATS * self._settings.heartbeat_seconds)
        self._beating.close(AgentState.FAILED)
        return EXIT_BROKEN
