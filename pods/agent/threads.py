"""The threads of an agent. A fault in one of them ends the agent in good order."""

import logging
import threading
from collections.abc import Callable

from pods.agent.control import Control, Intent

log = logging.getLogger("podfleet.agent")

EXIT_FAULT = 1


class Threads:
    """Starts threads, and asks for the end of the agent when one of them dies of an error."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def watch(self) -> None:
        """From now on a thread that dies ends the agent: it must not go on without a part."""
        threading.excepthook = self._died

    def start(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """A thread that does not keep the process alive."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def _died(self, args: threading.ExceptHookArgs) -> None:
        log.critical(
            "agent_broken thread=%s",
            args.thread and args.thread.name,
            exc_info=(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback),
        )
        self._control.ask(Intent.STOP, f"a fault: {args.exc_value!r}", exit_code=EXIT_FAULT)
