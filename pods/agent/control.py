"""What the agent must do next: work, drain, stop, or end at once because it is fenced."""

import threading
from enum import IntEnum


class Intent(IntEnum):
    """From the mildest to the hardest. An agent never goes back to a milder intent."""

    WORK = 0
    DRAIN = 1  # take nothing more, finish what is in hand
    STOP = 2  # give back what is in hand
    FENCED = 3  # touch nothing


class Control:
    """The present intent and its reason. Threads and signal handlers may share it."""

    def __init__(self) -> None:
        # re-entrant: a signal handler may run while its own thread holds the lock
        self._changed = threading.Condition(threading.RLock())
        self.intent = Intent.WORK
        self.because = ""
        self.exit_code = 0

    def ask(self, intent: Intent, because: str, *, exit_code: int = 0) -> bool:
        """Ask for a harder intent. False where it, or a harder one, is the intent already.

        A former exit code stays, unless this call names one.
        """
        with self._changed:
            if intent <= self.intent:
                return False
            self.intent, self.because = intent, because
            self.exit_code = exit_code or self.exit_code
            self._changed.notify_all()
            return True

    @property
    def working(self) -> bool:
        """Whether new items may be taken."""
        return self.intent is Intent.WORK

    def wait_beyond(self, intent: Intent, seconds: float) -> bool:
        """Wait until the intent is harder than `intent`. Returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.intent > intent, seconds)
