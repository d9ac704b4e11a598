"""A dataset's agent that was made and does not run: a test takes its steps one by one."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pods.agent.control import Control, Intent
from pods.agent.dataset.agent import DatasetAgent
from pods.agent.dataset.stores import place
from pods.agent.dataset.work import Work
from pods.agent.protocol import DATASET, AgentSettings
from pods.agent.ranges import Range
from pods.agent.stream import Entry
from tests.support.dataset_files import put_table, whole
from tests.support.rigs.agent_rig import Backlog


class Waits(Control):
    """Remembers for how long it was asked to wait, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []
        self.meanwhile: Callable[[], Any] = lambda: None

    def wait_beyond(self, intent: Intent, seconds: float) -> bool:
        self.asked.append(seconds)
        self.meanwhile()
        return super().wait_beyond(intent, 0)


class Handler:
    """Stands for the handler's process."""

    def __init__(self, preferred: int = 0, *, takes_columns: bool = False, calls: int = 1) -> None:
        self._preferred, self.takes_columns, self.calls_ahead = preferred, takes_columns, calls
        self.closed: list[bool] = []

    def load(self) -> int:
        return self._preferred

    def close(self, *, kindly: bool) -> None:
        self.closed.append(kindly)


class AgentInSteps:
    """A dataset's agent, its stream, and a folder with a table."""

    def __init__(self, backlog: Backlog, folder: Path, name: str = "a", **settings: Any) -> None:
        told = AgentSettings(
            redis_url=backlog.url, fleet="test", pod=name, stream="tasks", group="workers",
            handler="m:f", kind=DATASET, **settings,
        )  # fmt: skip
        self.backlog, self.sink, self.control = backlog, place(folder.as_uri()), Waits()
        self.agent = DatasetAgent(told, self.control)
        self.stream, self.hand, self.holding = (
            self.agent._stream, self.agent._hand, self.agent._holding,
        )  # fmt: skip
        self.agent._handler = self.handler = Handler()  # type: ignore[assignment]

    def range(self, rows: int = 3, name: str = "t") -> Range:
        source = put_table(self.sink.at(name), {"id": list(map(str, range(rows)))})
        return whole(source, rows, self.sink.url)

    def feed(self, count: int = 1, **fields: Any) -> list[str]:
        """Put ranges on the stream."""
        entry: Any = {**self.range().entry(), **fields}
        made: list[Any] = [self.backlog.client.xadd("tasks", entry) for _ in range(count)]
        return [one.decode() for one in made]

    def take(self, deliveries: int = 1, **fields: Any) -> Entry:
        """A range of the stream in the hand of this pod, which is to be begun."""
        self.feed(**fields)
        [entry] = self.stream.read(1, 10_000)[0]
        self.holding.add([entry._replace(deliveries=deliveries, counted=deliveries == 1)])
        [[taken]] = self.holding.take_batches(1, 0)
        return taken

    def work(self, of: Range | None = None, *, row_seconds: float | None = None) -> Work:
        """A range in hand, of which each row took so long until now."""
        made = Work(Entry("0-1", {}), of or self.range(), self.agent._writing.put, most_tries=1)
        if row_seconds is not None:
            made.fed = made.flushed = 1
            made.began = time.monotonic() - row_seconds
        self.hand.add(made)
        return made

    def begun(self) -> list[str]:
        return [work.entry.id for work in self.hand.works()]

    def join(self, *pods: str) -> None:
        """Let other pods ask for work."""
        for pod in pods:
            self.backlog.client.xreadgroup("workers", pod, {"tasks": ">"})

    def pending(self) -> int:
        return self.backlog.pending_of("a")
