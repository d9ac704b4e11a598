"""The agents on the vendors' machines: they beat, take items, fail or acknowledge them, and end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from zlib import crc32

from redis import RedisError

from fleet.models import Fleet
from pods.agent.protocol import MOST_FAILING, AgentState, Command, Heartbeat, Keys
from pods.base.clock import utcnow
from pods.machine_names import fleet_tag, has_tag, read_token, token_of
from pods.models import Installation
from tests.simulation.draws import Draws
from tests.simulation.redis_faults import FULL, FaultyRedis
from tests.simulation.tries import LEAVE_MS, Tries
from tests.simulation.vendors import Machine, Vendor

ITEMS_PER_SECOND: Final = 0.4
AT_ONCE: Final = 8  # the most items that an agent has in hand
CLAIM_IDLE_SECONDS: Final = 60
# The shares of the time that an agent reports while it works, waits for its link, and has nothing to do.
WORKS: Final = {"busy": 0.95, "starved": 0.02, "link": 0.03, "starting": 0.0}
WAITS: Final = {"busy": 0.2, "starved": 0.1, "link": 0.7, "starting": 0.0}
RESTS: Final = {"busy": 0.0, "starved": 1.0, "link": 0.0, "starting": 0.0}
MUTE: Final = 5  # one machine in so many has an agent of version 1, which measures nothing
FAR: Final = 3  # one machine in so many is far from its Redis
TRICKLE_SECONDS: Final = 60  # an agent that fails everything takes an item so often
BAD_SHARE: Final = 0.02  # of the items that come while there are faults
THERE_FOR: Final = timedelta(minutes=10)  # so long a pod was there: then it had its chance
# What an agent says whose handler cannot be loaded.
BROKEN: Final = "handler: emb.handlers:embed cannot be loaded: no module named 'emb'"
BROKEN_SECONDS: Final = (300, 1200, 2400)


@dataclass(slots=True, kw_only=True)
class Running:
    """The agent of one boot of one machine."""

    up_since: Any
    at: datetime
    in_hand: list[bytes] = field(default_factory=list)
    taken_at: datetime | None = None
    done: int = 0
    idle_since: datetime
    acked_at: datetime | None = None
    lease: bytes | str | None = None
    renewed_at: datetime
    silent_until: datetime | None = None  # until then its heartbeats are lost; it works on
    hangs: bool = False  # it sends heartbeats, and does not work
    began: datetime
    mute: bool  # it does not say where its time goes
    far: bool  # its handler waits for the link for most of the time
    fails: bool = False  # its GPU is lost: it fails every try
    failed: int = 0
    failing: set[bytes] = field(default_factory=set)  # items, since the last that was done
    broken: bool = False  # its handler could not be loaded
    # Of a dataset.
    held: dict[bytes, Any] = field(default_factory=dict)  # what is known of the ranges in hand
    frozen_until: datetime | None = None
    dies: str = ""  # when it dies; "now": at the end of this step


class Agents:
    """The agents of a fleet; their Redis commands do not have the faults of the tasks' commands."""

    def __init__(
        self, vendors: Sequence[Vendor], fleet: Fleet, server: FaultyRedis, draws: Draws
    ) -> None:
        self._vendors, self.fleet, self._redis = vendors, fleet, server.client
        self.server, self._draws = server, draws
        self._keys = Keys(fleet.name)
        self._tag = fleet_tag(Installation.own().slug, fleet.pk)
        self._running: dict[str, Running] = {}
        self.enqueued, self.acknowledged = 0, 0  # done or dead
        self.tries = Tries(fleet, server.client)
        self._broken_until: datetime | None = None
        self._milliseconds = 0
        self._managed = True
        self._far: bool | None = None  # None: each machine has its own place

    def stop_faults(self) -> None:
        """Let lost heartbeats arrive again, and GPUs work; who hangs still hangs."""
        for agent in self._running.values():
            agent.silent_until, agent.fails = None, False

    def mend_handler(self) -> None:
        """Let new agents load their handler from now on."""
        self._broken_until = None

    def move_away(self, *, far: bool) -> None:
        """Let all agents say from now on that they wait for the link, or that they work."""
        self._far = far
        for agent in self._running.values():
            agent.far, agent.mute = far, False

    def forget_items(self) -> None:
        """Start again from zero items, after the server was emptied."""
        self.enqueued = self.acknowledged = 0
        self.tries.forget()
        for agent in self._running.values():
            agent.in_hand.clear()
            agent.taken_at = None

    @property
    def left(self) -> int:
        """The number of items that are not done."""
        return self.enqueued - self.acknowledged

    @property
    def left_to_do(self) -> int:
        """The number of items that are not done and that a pod can do."""
        return max(0, self.left - self.tries.hopeless)

    @property
    def counts(self) -> tuple[int, int]:
        """The number of items enqueued and acknowledged until now."""
        return self.enqueued, self.acknowledged

    def restore_counts(self, counts: tuple[int, int]) -> None:
        """Go back to earlier counts: items acknowledged since then are pending again."""
        self.enqueued, self.acknowledged = counts
        self.tries.restore()
        for agent in self._running.values():
            agent.in_hand.clear()
            agent.taken_at = None

    def add_items(self, count: int) -> None:
        """Enqueue items, with ids of the server's clock."""
        now_ms = int(self.server.clock.timestamp() * 1000)
        pipe = self._redis.pipeline(transaction=False)
        for _ in range(count):
            self._milliseconds = max(self._milliseconds + 1, now_ms)
            entry = f"{self._milliseconds}-0"
            pipe.xadd(self.fleet.stream, {"payload": "x"}, id=entry)
            if self._draws.faults_on and self._draws.random.random() < BAD_SHARE:
                self.tries.bad.add(entry.encode())
        self.enqueued += len(pipe.execute())

    def break_sometimes(self) -> None:
        """Let the handler of new agents be impossible to load for a while, if the draw says so."""
        if own := self._draws.occurs(0.08, f"the handler of {self.fleet} is broken"):
            self._broken_until = utcnow() + timedelta(seconds=own.choice(BROKEN_SECONDS))

    def step(self, *, managed: bool) -> None:
        """Advance every agent to the clock; `managed`: ticks came in the time that was jumped over."""
        self._managed = managed
        self.tries.turn += 1
        living: set[str] = set()
        for vendor in self._vendors:
            for machine in vendor.machines():
                if machine.up_since is None or not self._is_ours(machine):
                    continue
                living.add(machine.id)
                agent = self._agent(machine)
                if self.server.answers:
                    self._work(vendor, machine, agent)
                else:
                    self._end_if_orphaned(vendor, machine, agent)
        for gone in self._running.keys() - living:
            del self._running[gone]

    def _is_ours(self, machine: Machine) -> bool:
        """Whether it was made like a pod of the fleet, so that an agent runs on it."""
        name = machine.name
        return has_tag(name, self._tag) and read_token(token_of(name)) is not None

    def _agent(self, machine: Machine) -> Running:
        """The agent of the machine's present boot."""
        now, agent = utcnow(), self._running.get(machine.id)
        if agent is None or agent.up_since != machine.up_since:
            number = crc32(machine.id.encode())
            agent = Running(
                up_since=machine.up_since,
                at=now,
                idle_since=now,
                renewed_at=now,
                began=now,
                mute=self._far is None and not number % MUTE,
                far=not number % FAR if self._far is None else self._far,
            )
            agent.broken = self._broken_until is not None and now < self._broken_until
            self._running[machine.id] = agent
        return agent

    def _end_if_orphaned(self, vendor: Vendor, machine: Machine, agent: Running) -> bool:
        """End a machine whose agent has seen no manager for `orphan_seconds`."""
        if (utcnow() - agent.renewed_at).total_seconds() <= self.fleet.orphan_seconds:
            return False
        self._draws.record(
            f"{machine.id} ends itself: no manager since {agent.renewed_at:%H:%M:%S}"
        )
        vendor.end(machine.id)
        return True

    def _work(self, vendor: Vendor, machine: Machine, agent: Running) -> None:
        now, name = utcnow(), machine.name
        fence, command, lease = self._redis.mget(
            self._keys.fence(name), self._keys.command(name), self._keys.lease
        )
        if lease != agent.lease or self._managed:
            agent.lease, agent.renewed_at = lease, now
        if self._end_if_orphaned(vendor, machine, agent) or fence:
            return
        self._cause_faults(machine, agent)
        if agent.broken:
            self._beat(name, agent, AgentState.FAILED)
            return
        leaving = command in {Command.DRAIN.value.encode(), Command.STOP.value.encode()}
        if not agent.hangs and self.server.failure != FULL:
            self._finish(name, agent, everything=leaving)
            if not leaving:
                self._take(name, agent)
        agent.at = now
        if agent.silent_until is None or now >= agent.silent_until:
            drained = leaving and not agent.in_hand
            self._beat(name, agent, AgentState.DRAINED if drained else AgentState.WORKING)

    def _cause_faults(self, machine: Machine, agent: Running) -> None:
        if own := self._draws.occurs(0.006, f"no heartbeat of {machine.id}"):
            agent.silent_until = utcnow() + timedelta(seconds=own.choice([30, 120, 900]))
        if self._draws.occurs(0.003, f"the agent of {machine.id} hangs"):
            agent.hangs = True
        if self._draws.occurs(0.02, f"the GPU of {machine.id} is lost"):
            agent.fails = True

    def _finish(self, name: str, agent: Running, *, everything: bool) -> None:
        """Publish and acknowledge the items done since the last step, in one transaction."""
        seconds = (utcnow() - agent.at).total_seconds()
        count = len(agent.in_hand) if everything else int(ITEMS_PER_SECOND * seconds)
        if len(agent.failing) >= MOST_FAILING:
            count = min(count, 1 + int(seconds // TRICKLE_SECONDS))
        while agent.in_hand and count > 0:
            batch = agent.in_hand[:count]
            good = [e for e in batch if not agent.fails and e not in self.tries.bad]
            try:
                self._acknowledge(name, agent, good)
                kept = self._fail(name, agent, [e for e in batch if e not in good])
            except RedisError:
                return
            agent.in_hand[:count] = []
            agent.in_hand += kept
            count -= len(batch)
            if not everything and count > 0:
                self._take(name, agent)
        if not agent.in_hand and agent.taken_at is not None:
            agent.taken_at, agent.idle_since = None, utcnow()

    def _acknowledge(self, name: str, agent: Running, entries: list[bytes]) -> None:
        if not entries:
            return
        acked = int(self._redis.xack(self.fleet.stream, self.fleet.group, *entries))
        agent.done += acked
        agent.failing.clear()
        agent.acked_at = self.server.settled[name.encode()] = utcnow()
        self.acknowledged += acked

    def _fail(self, name: str, agent: Running, entries: list[bytes]) -> list[bytes]:
        """Settle failed tries; return the items that are tried here again."""
        others = [
            other
            for other, a in self._running.items()
            if a is not agent and not a.hangs and not a.broken and utcnow() - a.began >= THERE_FOR
        ]
        before = self.tries.dead
        kept = self.tries.fail(name, entries, others=others)
        self.acknowledged += self.tries.dead - before
        agent.failed += len(entries)
        agent.failing.update(entries)
        return [e for e in entries if e in kept]

    def _take(self, name: str, agent: Running) -> None:
        stream, group = self.fleet.stream, self.fleet.group
        now, me = utcnow(), name.encode()
        self.server.asked[me] = now
        free = AT_ONCE - len(agent.in_hand)
        if len(agent.failing) >= MOST_FAILING:
            free = min(free, 1)
        if free <= 0:
            return
        try:
            entries = self._take_left(name, agent, free)
            if not entries:
                got: Any = self._redis.xreadgroup(group, name, {stream: ">"}, count=free)
                entries = [entry for _, rows in got for entry, _ in rows] if got else []
            if not entries:
                entries = self._claim(me, agent, free)
        except RedisError:
            return
        if entries:
            agent.in_hand += entries
            agent.taken_at = agent.taken_at or now
            self.server.settled[me] = now

    def _take_left(self, name: str, agent: Running, count: int) -> list[bytes]:
        """Items that failed, and that their pods left to others."""
        stream, group = self.fleet.stream, self.fleet.group
        found = self._redis.xpending_range(stream, group, "-", "+", 50, idle=LEAVE_MS)
        ids: list[Any] = [r["message_id"] for r in found]
        ids = [i for i in ids if i not in agent.in_hand and self.tries.may_take(name, i)][:count]
        if not ids:
            return []
        taken: Any = self._redis.xclaim(stream, group, name, 0, ids, justid=True)
        self.tries.took(name, list(taken))
        return list(taken)

    def _claim(self, me: bytes, agent: Running, count: int) -> list[bytes]:
        """Items of consumers that gave no sign, its own of an earlier boot among them."""
        stream, group = self.fleet.stream, self.fleet.group
        waiting = self._redis.xpending(stream, group)
        for row in waiting["consumers"] or ():
            owner, mine = row["name"], row["name"] == me
            sign = max(
                (t for t in (self.server.settled.get(owner), self.server.asked.get(owner)) if t),
                default=None,
            )
            dead = sign is None or (utcnow() - sign).total_seconds() > CLAIM_IDLE_SECONDS
            if not (mine or dead):
                continue
            found = self._redis.xpending_range(stream, group, "-", "+", 50, consumername=owner)
            ids: list[Any] = [r["message_id"] for r in found]
            name = me.decode()
            ids = [i for i in ids if i not in agent.in_hand and self.tries.may_take(name, i)]
            if ids:
                claimed: Any = self._redis.xclaim(stream, group, me, 0, ids[:count], justid=True)
                self.tries.took(name, list(claimed))
                return list(claimed)
        return []

    def _beat(self, name: str, agent: Running, state: AgentState) -> None:
        said = Heartbeat(
            state=state,
            at_ms=int(self.server.clock.timestamp() * 1000),
            done=agent.done,
            failed=agent.failed,
            failing=len(agent.failing),
            note=BROKEN if agent.broken else "",
            in_flight=len(agent.in_hand),
            idle_ms=0 if agent.in_hand else _ms(agent.idle_since),
            oldest_ms=_ms(agent.taken_at),
            since_ack_ms=-1 if agent.acked_at is None else _ms(agent.acked_at),
            uptime_ms=_ms(agent.began),
            **_shares(agent),
            rate=ITEMS_PER_SECOND if agent.in_hand else 0.0,
        )
        fields: dict[Any, Any] = {**said.fields(), "at_ms": str(said.at_ms)}
        try:
            self._redis.hset(self._keys.pod(name), mapping=fields)
        except RedisError:
            return


def _shares(agent: Running) -> Mapping[str, Any]:
    """Where the time of its handler goes."""
    if agent.mute:
        return {}
    if not agent.in_hand:
        return RESTS
    return {**WAITS, "rtt_ms": 180.0} if agent.far else WORKS


def _ms(since: datetime | None) -> int:
    return 0 if since is None else int((utcnow() - since).total_seconds() * 1000)
