"""Repeats a call on a thread of its own, and raises its error in the thread that joins."""

import threading
from collections.abc import Callable


class Repeated:
    """Calls `act` until `over` is set, with `pause` seconds between two calls."""

    def __init__(self, over: threading.Event, pause: float, act: Callable[[], None]) -> None:
        self._over, self._pause, self._act = over, pause, act
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join_and_raise(self) -> None:
        """Wait until the thread has ended; raise what `act` raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._act()
                self._over.wait(self._pause)
        except BaseException as exc:  # noqa: BLE001 - raised again by join_and_raise
            self._error = exc
