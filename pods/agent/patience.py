"""Repeats a call until it succeeds, more slowly each time, and reports why it fails."""

import logging
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TypeVar

import redis

from pods.agent.control import Control, Intent
from pods.agent.progress import Progress
from pods.agent.stream import Fenced

log = logging.getLogger("podfleet.agent")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
T = TypeVar("T")


class GivenUp(Exception):
    """The agent ends before the server has answered."""


class Patience:
    """Repeats a call until it succeeds or the agent must end. `passing`: errors that may pass."""

    def __init__(
        self,
        progress: Progress,
        control: Control,
        fenced_exit_code: int,
        stuck: Callable[[], "AbstractContextManager[None]"] = nullcontext,
        *,
        passing: "tuple[type[Exception], ...]" = (redis.RedisError,),
    ) -> None:
        self._passing = passing
        self._progress, self._control, self._stuck = progress, control, stuck
        self._fenced_exit_code = fenced_exit_code

    def with_(self, where: str, what: Callable[[int], T], *, until: Intent) -> T:
        """The result of `what(tries)`, which must be safe to repeat.

        Raises:
            GivenUp: the intent has become `until` or a harder one, or the pod is fenced.
        """
        with ExitStack() as until_it_succeeds:
            return self._repeat(where, what, until, until_it_succeeds)

    def _repeat(self, where: str, what: Callable[[int], T], until: Intent, failing: ExitStack) -> T:
        tries = 0
        while True:
            try:
                result = what(tries)
            except Fenced as exc:
                self._control.ask(Intent.FENCED, str(exc), exit_code=self._fenced_exit_code)
                raise GivenUp(str(exc)) from exc
            except self._passing as exc:
                tries += 1
                if tries == 1:
                    failing.enter_context(self._stuck())
                self._progress.trouble(where, f"{type(exc).__name__}: {exc}")
                if tries == 1 or tries % 10 == 0:
                    log.warning("%s_failed tries=%d because=%r", where, tries, str(exc))
            else:
                self._progress.over(where)
                return result
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(tries, 10))
            pause *= 0.5 + random.random() / 2  # jitter: many agents share one server
            if self._control.wait_beyond(Intent(until - 1), pause):
                raise GivenUp(self._control.because)
