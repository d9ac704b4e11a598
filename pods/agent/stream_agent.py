"""What the agents of items and of datasets share: their parts, their beginning and their end."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from pods.agent.control import Control, Intent
from pods.agent.farewell import EXIT_HANDLER_BROKEN, report_broken, say_goodbye
from pods.agent.handler_process import HandlerBroken, HandlerProcess
from pods.agent.heartbeat import EXIT_FENCED, Beating
from pods.agent.holding import Holding
from pods.agent.measures import Measured, Measures
from pods.agent.patience import GivenUp, Patience
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings, AgentState
from pods.agent.reclaim import Reclaim
from pods.agent.remembering import Remembering
from pods.agent.routing import Routes
from pods.agent.settling import Settling
from pods.agent.shares import Peak, Shares
from pods.agent.sizing import SHORT_SECONDS, Sizing
from pods.agent.stream import Stream
from pods.agent.threads import Threads
from pods.agent.trickle import Trickle

log = logging.getLogger("podfleet.agent")

# A larger batch is tried if it should take at most this share of the handler's time limit.
LONGEST_TRY = 0.5
# Python handles a signal in the main thread, when that next runs. The kernel may give the signal to
# another thread, for example after a freeze, and that does not wake the main one.
SIGNAL_SECONDS = 1.0

S = TypeVar("S", bound=Stream)
MakeStream = Callable[[AgentSettings, Callable[[], "AbstractContextManager[None]"]], S]


class StreamAgent(ABC, Generic[S]):
    """One agent, from loading the handler to the exit code."""

    _handler: HandlerProcess
    _beating: Beating
    # Entries in hand are kept up to this intent, and a call that keeps them is repeated up to the next.
    _keeps, _keeps_trying = Intent.DRAIN, Intent.STOP
    _more_tries = 0  # see Reclaim

    def __init__(
        self,
        settings: AgentSettings,
        control: Control,
        make_stream: MakeStream[S],
        holding: Holding,
    ) -> None:
        self._settings, self._control = settings, control
        self._threads = Threads(control)
        self._progress, self._shares, self._most_held = Progress(), Shares(), Peak()
        self._stream = make_stream(settings, self._shares.round_trip)
        self._holding = holding
        self._patience = Patience(self._progress, control, EXIT_FENCED, self._shares.stuck)
        self._trickle = Trickle(self._progress)
        self._reclaim = Reclaim(
            settings, self._stream, holding, self._progress, more_tries=self._more_tries
        )
        self._settling = Settling(
            self._stream, holding, self._progress, self._patience, Routes(settings)
        )
        self._measures = Measures(self._measured)
        self._remembering = Remembering(
            settings, self._stream, self._patience, self._measures.gpu_kind
        )

    def run(self) -> int:
        """Work until something asks for the end. Returns the exit code."""
        self._threads.watch()
        self._measures.start()
        self._beating.start()
        self._threads.start("load-stopper", self._stop_loading)
        try:
            self._read_secrets()
            most = self._load()
        except GivenUp:
            return self._end()
        except HandlerBroken as exc:
            return self._fail(str(exc))
        if self._control.working:
            self._beating.state = AgentState.WORKING
            log.info("agent_working stream=%s batch=%d", self._settings.stream, most)
        intake = self._start_work()
        self._threads.start("keeper", self._keep)
        self._threads.start("fits", self._remembering.share)
        while not self._control.wait_beyond(Intent.WORK, SIGNAL_SECONDS):
            pass
        because = self._control.because
        log.info("agent_ending intent=%s because=%r", self._control.intent.name.lower(), because)
        self._beating.state = AgentState.DRAINING
        self._finish(intake)
        return self._end()

    def _read_secrets(self) -> None:
        """Wait for the fleet's secrets, which the handler may need when it is imported.

        Raises:
            GivenUp: the agent must end before that.
        """
        secrets = self._beating.secrets
        secrets.when_changed(self._handler.renew)
        self._patience.with_("secrets", lambda _: secrets.read(), until=Intent.DRAIN)

    @abstractmethod
    def _load(self) -> int:
        """Load the handler. Returns the size of its largest batch."""

    @abstractmethod
    def _start_work(self) -> Sequence[threading.Thread]:
        """Start the threads. Returns those that take entries in hand."""

    @abstractmethod
    def _finish(self, intake: Sequence[threading.Thread]) -> None:
        """Wait until nothing is in hand, the drain time is over, or a harder end is asked for."""

    @abstractmethod
    def _end(self) -> int:
        """End the handler, and leave. Returns the exit code."""

    @abstractmethod
    def _batch_size(self) -> int:
        """How many items the next batch has."""

    def _measured(self) -> Measured:
        rtt = self._holding.rtt_seconds
        return {
            **self._shares.now(),
            "batch": self._batch_size(),
            "held_bytes": self._most_held.value(),
            "rtt_ms": None if rtt is None else round(rtt * 1000, 3),
        }

    def _sizing_up_to(self, most: int, *, calls: int = 1) -> Sizing:
        """`calls`: of the handler, in which a batch is worked on."""
        settings = self._settings
        # a batch that is cut off would make suspects of its items
        longest = settings.handler_timeout_seconds * LONGEST_TRY
        # sorting items for several calls pays, and batches of a few items would not show it
        short = SHORT_SECONDS * calls
        return Sizing(
            most, settings.target_batch_seconds, longest_seconds=longest, short_seconds=short
        )

    def _stop_loading(self) -> None:
        """Let a stop end the load of a handler, which can take minutes."""
        self._control.wait_beyond(Intent.WORK, threading.TIMEOUT_MAX)
        if self._beating.state is AgentState.STARTING:
            self._handler.close(kindly=False)

    def _fail(self, why: str) -> int:
        if not self._control.working:  # it was stopped while it loaded
            return self._end()
        report_broken(why, self._settings, self._progress, self._beating, self._control)
        say_goodbye(self._stream, self._holding, self._patience)
        self._beating.close(AgentState.FAILED)
        return EXIT_HANDLER_BROKEN

    def _leave(self, *, fenced: bool) -> int:
        if not fenced:
            say_goodbye(self._stream, self._holding, self._patience)
        self._beating.close(AgentState.DRAINED)
        log.info("agent_ended exit_code=%d note=%r", self._control.exit_code, self._progress.note)
        return self._control.exit_code

    def _take_in(self) -> None:
        try:
            while self._control.working:
                self._patience.with_("backlog", lambda _: self._take_step(), until=Intent.DRAIN)
        except GivenUp:
            return

    @abstractmethod
    def _take_step(self) -> None:
        """Take entries in hand, if there is room."""

    def _keep(self) -> None:
        """Keep what is in hand long before its idle time is over: one lost try does no harm."""
        pause = self._settings.claim_idle_seconds / 4
        try:
            while not self._control.wait_beyond(self._keeps, pause):
                self._patience.with_(
                    "keep", lambda _: self._reclaim.keep(), until=self._keeps_trying
                )
        except GivenUp:
            return

    def _broken(self, why: str) -> None:
        self._progress.trouble("handler", why)
        self._control.ask(Intent.STOP, why, exit_code=EXIT_HANDLER_BROKEN)
