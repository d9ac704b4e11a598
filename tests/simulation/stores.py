"""An object store in memory for a day's tasks and agents; tasks can be killed at each of its calls."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from obstore.store import MemoryStore

from pods.agent.dataset import stores
from pods.agent.dataset.stores import Place, Unreachable
from tests.simulation.draws import Draws
from tests.simulation.worker import Worker


class MemoryStores:
    """One store for all buckets of a day."""

    def __init__(self, worker: Worker, draws: Draws) -> None:
        self._worker, self._draws, self._store = worker, draws, MemoryStore()
        self._away = False

    def cause_faults(self) -> None:
        """Begin or end an outage that tasks see, if the draw says so."""
        if self._draws.occurs(0.02, "the store does not answer"):
            self._away = True
        elif self._away and self._draws.random.random() < 0.4:
            self._away = False

    def stop_faults(self) -> None:
        """Answer from now on."""
        self._away = False

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Within the block all places are in this store."""
        asked: Callable[..., Any] = stores._asked
        main = threading.get_ident()

        def ask(of: Place, what: Callable[[], Any]) -> Any:
            if not self._worker.at_work:
                return asked(of, what)
            if threading.get_ident() == main:
                self._worker.call("before a request to the store")
            if self._away:
                raise Unreachable(f"{of.url}: it does not answer")
            answer = asked(of, what)
            if threading.get_ident() == main:
                self._worker.call("after a request to the store")
            return answer

        with (
            mock.patch.object(stores, "_asked", ask),
            mock.patch.object(stores, "_store", return_value=self._store),
        ):
            yield
