"""Does something again and again on a thread of its own, and tells what went wrong there."""

import threading
from collections.abc import Callable


class Repeated:
    """From now on until `over`, with a pause between the end of one and the beginning of the next."""

    def __init__(self, over: threading.Event, pause: float, act: Callable[[], None]) -> None:
        self._over, self._pause, self._act = over, pause, act
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join_and_raise(self) -> None:
        """Wait for its end; what it raised is raised here."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._act()
                self._over.wait(self._pause)
        except BaseException as exc:  # noqa: BLE001 - raised by whoever joins
            self._error = exc
