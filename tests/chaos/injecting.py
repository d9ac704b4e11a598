"""Causes one fault after another, in the order that a seed draws."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from threading import Lock, Timer
from typing import Any, Final

import psutil

from tests.chaos.system import System

FROZEN_SECONDS: Final = (2, 5, 12, 30)


class FaultInjector:
    """The system and the random draws that a fault needs; `caused` counts the faults by kind."""

    def __init__(self, system: System, seed: int) -> None:
        self.system, self.random = system, Random(seed)
        self.caused: Counter[str] = Counter()
        self.caused_names: set[str] = set()  # the faults that broke something at least once
        self._later: list[tuple[Timer, Callable[[], Any]]] = []
        self._lock = Lock()

    def cause(self, name: str, fault: "Fault") -> None:
        """Cause one fault; count it only if there was something to break."""
        try:
            kind = fault(self)
        except psutil.Error:  # the process ended by itself meanwhile
            return
        if kind:
            self.caused[kind] += 1
            self.caused_names.add(name)

    def any_of(self, found: list[psutil.Process]) -> psutil.Process | None:
        """Draw one of these processes; None if there is none."""
        return self.random.choice(sorted(found, key=lambda p: p.pid)) if found else None

    def freeze(self, processes: list[psutil.Process], seconds: float) -> None:
        """Stop these processes with SIGSTOP; SIGCONT follows after `seconds`."""
        for process in processes:
            with suppress(psutil.Error):
                process.suspend()

        def resume() -> None:
            for process in processes:
                with suppress(psutil.Error):
                    process.resume()

        self.later(seconds, resume)

    def later(self, seconds: float, act: Callable[[], Any]) -> None:
        """Call `act` once: after `seconds`, or when `end` is called before that."""
        once = _once(act)
        timer = Timer(seconds, once)
        timer.daemon = True
        with self._lock:
            self._later.append((timer, once))
        timer.start()

    def end(self) -> None:
        """End every fault: run what `later` still holds, and repair vendors, proxies and servers."""
        with self._lock:
            waiting, self._later = self._later, []
        for timer, act in waiting:
            timer.cancel()
            act()
        system = self.system
        for vendor in system.vendors:
            vendor.server.faults.clear()
        for proxy in system.proxies.values():
            proxy.restore()
        system.valkey.ensure_running()
        if system.postgres is not None:
            system.postgres.ensure_running()


Fault = Callable[[FaultInjector], str | None]


def _once(act: Callable[[], Any]) -> Callable[[], None]:
    lock, done = Lock(), False

    def run() -> None:
        nonlocal done
        with lock:
            if not done:
                done = True
                act()

    return run
