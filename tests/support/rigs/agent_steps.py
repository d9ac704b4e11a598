"""An agent whose steps a test makes, on a real server and without its handler's process."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from pods.agent import loop
from pods.agent.control import Control, Intent
from pods.agent.protocol import MOST_FAILING, AgentSettings
from pods.agent.stream import Entry, Stream
from pods.agent.tail import Pending
from tests.support.rigs.agent_rig import Backlog

A_MOMENT = 0.02


class Noted(Stream):
    """Notes the calls that bring items, or wait for them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: list[str] = []
        self.equal_parts: list[bool] = []

    def read(
        self, count: int, max_bytes: int, *, equal_part: bool = False
    ) -> tuple[list[Entry], str]:
        self.calls.append("read")
        self.equal_parts.append(equal_part)
        return super().read(count, max_bytes, equal_part=equal_part)

    def wait(self, last_id: str) -> None:
        self.calls.append("wait")
        super().wait(last_id)

    def claim(self, count: int, max_bytes: int, cursor: str) -> tuple[list[Entry], str]:
        self.calls.append("claim")
        return super().claim(count, max_bytes, cursor)

    def recover(self, count: int, max_bytes: int, after: str) -> tuple[list[Entry], str]:
        self.calls.append("recover")
        return super().recover(count, max_bytes, after)

    def pending(self, count: int) -> list[Pending]:
        self.calls.append("pending")
        return super().pending(count)


class Stepped(Control):
    """It waits in no time, and notes for how long; meanwhile `happens` happens."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self.happens: Callable[[], object] = lambda: None

    def wait_beyond(self, intent: Intent, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.happens()
        return self.intent > intent


class Taker:
    """Takes batches as the handler's process does."""

    preferred, calls_ahead, room, open = 0, 1, 4, True

    def __init__(self) -> None:
        self.took: list[list[list[str]]] = []
        self.closed: list[bool] = []
        self.waited = 0

    def load(self) -> int:
        return self.preferred

    def wait_for_room(self) -> int:
        return self.room

    def wait_until_empty(self) -> None:
        self.waited += 1

    def submit(self, batches: Sequence[Sequence[Entry]]) -> bool:
        if self.open:
            self.took.append([[e.id for e in batch] for batch in batches])
        return self.open

    def renew(self) -> None:
        pass

    def not_begun(self) -> list[list[Entry]]:
        return []

    def close(self, *, kindly: bool) -> None:
        self.closed.append(kindly)


class Agent(loop.Agent):
    """An agent whose steps a test makes, with a clock for what it has in hand."""

    def __init__(self, backlog: Backlog, control: Control | None = None, **changes: Any) -> None:
        self.backlog, self.now, self.taker = backlog, 1000.0, Taker()
        settings = AgentSettings(
            redis_url=backlog.url,
            fleet="test",
            pod="pod-a",
            stream="tasks",
            group="workers",
            handler="m:f",
            **changes,
        )
        super().__init__(settings, control or Stepped())
        self._handler = cast(Any, self.taker)
        self._holding._clock = self._trickle._clock = self._reclaim._clock = lambda: self.now
        self._holding._empty_since = self._reclaim._next_claim = self.now
        self._reclaim._next_offer = self._trickle._next = self.now
        self._holding.rest()

    @property
    def calls(self) -> list[str]:
        """The calls since the last question."""
        noted = cast(Noted, self._stream)
        calls, noted.calls = noted.calls, []
        return calls

    @property
    def in_hand(self) -> list[str]:
        """The items in hand."""
        return [entry for entry, _ in self._holding.all()]

    def began(self) -> None:
        """Let it ask the server what an agent asks once, at its very beginning."""
        self._take_step()
        self.now += 0.1
        assert self.calls == ["recover", "claim", "read", "wait"]

    def is_quick(self) -> None:
        """Its handler has shown that it takes large batches."""
        self._holding.tune(64, 0.001)

    def only_fails(self) -> None:
        """Its handler has failed everything for some time."""
        self._progress.failed_in_a_row(tries=[f"{n}-9" for n in range(MOST_FAILING)])
