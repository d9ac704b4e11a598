"""Deals one blow after another, as the dice of a seed say."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from threading import Lock, Timer
from typing import Any, Final

import psutil

from tests.chaos.stage import Stage

FROZEN_SECONDS: Final = (2, 5, 12, 30)


class Havoc:
    """What a blow needs; what was dealt is in `done`, by kind."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage, self.dice = stage, Random(seed)
        self.done: Counter[str] = Counter()
        self.dealt: set[str] = set()  # the blows that broke something at least once
        self._later: list[tuple[Timer, Callable[[], Any]]] = []
        self._alone = Lock()

    def strike(self, name: str, blow: "Blow") -> None:
        """One thing goes wrong; nothing is counted where there was nothing to break."""
        try:
            dealt = blow(self)
        except psutil.Error:  # it ended by itself meanwhile
            return
        if dealt:
            self.done[dealt] += 1
            self.dealt.add(name)

    def any_of(self, found: list[psutil.Process]) -> psutil.Process | None:
        """One of them."""
        return self.dice.choice(sorted(found, key=lambda p: p.pid)) if found else None

    def freeze(self, processes: list[psutil.Process], seconds: float) -> None:
        """Let them stand still for a while."""
        for process in processes:
            with suppress(psutil.Error):
                process.suspend()

        def go_on() -> None:
            for process in processes:
                with suppress(psutil.Error):
                    process.resume()

        self.later(seconds, go_on)

    def later(self, seconds: float, act: Callable[[], Any]) -> None:
        """Do this after a time, or at the end of all; once."""
        once = _once(act)
        timer = Timer(seconds, once)
        timer.daemon = True
        with self._alone:
            self._later.append((timer, once))
        timer.start()

    def end(self) -> None:
        """Nothing goes wrong any more; what was put off is done now."""
        with self._alone:
            waiting, self._later = self._later, []
        for timer, act in waiting:
            timer.cancel()
            act()
        stage = self.stage
        for vendor in stage.vendors:
            vendor.server.faults.clear()
        for proxy in stage.proxies.values():
            proxy.heal()
        stage.valkey.ensure_running()
        if stage.postgres is not None:
            stage.postgres.ensure_running()


Blow = Callable[[Havoc], str | None]


def _once(act: Callable[[], Any]) -> Callable[[], None]:
    alone, done = Lock(), False

    def run() -> None:
        nonlocal done
        with alone:
            if not done:
                done = True
                act()

    return run
