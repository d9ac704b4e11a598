"""The outages of one Redis server: it fails for a while, dies, restarts empty or fails over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fleet import operating
from tests.simulation.agents import Agents
from tests.simulation.draws import Draws
from tests.simulation.plan import CLOCKS
from tests.simulation.redis_faults import DOWN, FULL, LOSES_ANSWERS, FaultyRedis


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replica:
    """The data and the clock of a replica."""

    dumps: dict[bytes, Any]
    counts: list[tuple[int, int]]
    ahead: timedelta


class Outages:
    """Causes the outages of a server, and tells the agents of the fleets whose backlog it has."""

    def __init__(
        self, server: FaultyRedis, agents: Sequence[Agents], draws: Draws, *, may_die: bool
    ) -> None:
        """`may_die`: another server goes on, so that the day can end without this one."""
        self.server, self._agents, self._draws = server, agents, draws
        self._may_die = may_die
        self._replica: _Replica | None = None  # takes over in the next step

    def cause_faults(self) -> None:
        """Begin or end an outage, if the draw says so."""
        server = self.server
        if server.dead:
            return
        if own := self._draws.occurs(0.02, f"Redis{server.url and ' 2'} fails"):
            server.failure = own.choice([DOWN, DOWN, LOSES_ANSWERS, FULL])
        elif server.failure and self._draws.random.random() < 0.4:
            server.failure = ""
        if self._draws.occurs(0.004, f"Redis{server.url and ' 2'} restarts empty"):
            self._empty()
        self._fail_over()
        if self._may_die and self._draws.occurs(0.02, f"Redis{server.url and ' 2'} dies"):
            server.failure, server.dead, self._replica = DOWN, True, None

    def stop(self) -> None:
        """Let the server work again, unless it has died; its groups are made again."""
        self._replica = None
        if self.server.dead:
            return
        self.server.failure = ""
        for agents in self._agents:
            operating.make_group(agents.fleet)

    def start_again(self) -> None:
        """Somebody starts a server that has died; it has the data that it had."""
        self.server.dead = False
        self.stop()

    def _empty(self) -> None:
        self.server.client.flushdb()
        for agents in self._agents:
            agents.forget_items()
        if self._draws.random.random() < 0.5:
            for agents in self._agents:
                operating.make_group(agents.fleet)

    def _fail_over(self) -> None:
        """Let a replica take over that lacks the writes since the step before (F45)."""
        client, words = self.server.client, f"Redis{self.server.url and ' 2'} fails over"
        if self._replica is not None:
            client.flushdb()
            for key, dump in self._replica.dumps.items():
                client.restore(key, 0, dump)
            for agents, counts in zip(self._agents, self._replica.counts, strict=True):
                agents.restore_counts(counts)
            self.server.ahead = self._replica.ahead
            self._replica = None
        elif own := self._draws.occurs(0.006, f"{words} to a replica that lacks the next step"):
            keys: list[Any] = client.keys()
            self._replica = _Replica(
                dumps={key: client.dump(key) for key in sorted(keys)},
                counts=[agents.counts for agents in self._agents],
                ahead=timedelta(seconds=own.choice(CLOCKS)),
            )
