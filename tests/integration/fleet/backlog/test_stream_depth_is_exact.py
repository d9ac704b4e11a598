"""Whatever happened to a stream and its group, the depth is exact or marked as an upper bound."""

from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.backlog.redis_streams import RedisStreamProbe
from tests.support.examples import examples

STREAM, GROUP = "tasks", "workers"
CONSUMERS = ("a", "b")
Op = tuple[str, int]
HONEST = ("add", "add", "add", "read", "read", "read", "skip_ack", "ack", "delete", "maxlen")
HONEST += ("minid", "setid", "regroup", "delconsumer", "claim")
LIES = ("entries_read", "entries_added")


def operations(*names: str) -> st.SearchStrategy[list[Op]]:
    return st.lists(st.tuples(st.sampled_from(names), st.integers(0, 9)), max_size=30)


@dataclass
class Truth:
    """A model of the stream and the group, kept without asking the server."""

    client: redis.Redis
    last: int = 0
    position: int = 0
    entries: set[int] = field(default_factory=set)
    pending: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client.delete(STREAM)
        self.client.xgroup_create(STREAM, GROUP, "0", mkstream=True)

    @property
    def waiting(self) -> int:
        return sum(entry > self.position for entry in self.entries)

    def _some(self, number: int) -> int:
        return number * self.last // 9

    def do(self, op: Op) -> None:
        getattr(self, op[0])(op[1])

    def add(self, number: int) -> None:
        for _ in range(1 + number // 5):
            self.last += 1
            self.client.xadd(STREAM, {"payload": "x" * number}, id=f"{self.last}-1")
            self.entries.add(self.last)

    def read(self, number: int, *, noack: bool = False) -> None:
        consumer = CONSUMERS[number % 2]
        self.client.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=1 + number // 3, noack=noack)
        taken = sorted(e for e in self.entries if e > self.position)[: 1 + number // 3]
        if taken:
            self.position = taken[-1]
        if not noack:
            self.pending |= dict.fromkeys(taken, consumer)

    def skip_ack(self, number: int) -> None:
        self.read(number, noack=True)

    def ack(self, number: int) -> None:
        self.client.xack(STREAM, GROUP, f"{self._some(number)}-1")
        self.pending.pop(self._some(number), None)

    def delete(self, number: int) -> None:
        self.client.xdel(STREAM, f"{self._some(number)}-1")
        self.entries.discard(self._some(number))

    def maxlen(self, number: int) -> None:
        self.client.xtrim(STREAM, maxlen=number, approximate=False)
        self.entries = set(sorted(self.entries)[max(0, len(self.entries) - number) :])

    def minid(self, number: int) -> None:
        self.client.xtrim(STREAM, minid=f"{self._some(number)}-0", approximate=False)
        self.entries = {e for e in self.entries if e >= self._some(number)}

    def setid(self, number: int) -> None:
        self.client.xgroup_setid(STREAM, GROUP, f"{self._some(number)}-1")
        self.position = self._some(number)

    def regroup(self, number: int) -> None:
        self.client.xgroup_destroy(STREAM, GROUP)
        self.client.xgroup_create(STREAM, GROUP, f"{self._some(number)}-1" if number else "$")
        self.position = self._some(number) if number else self.last
        self.pending = {}

    def delconsumer(self, number: int) -> None:
        self.client.xgroup_delconsumer(STREAM, GROUP, CONSUMERS[number % 2])
        self.pending = {e: c for e, c in self.pending.items() if c != CONSUMERS[number % 2]}

    def claim(self, number: int) -> None:
        consumer = CONSUMERS[number % 2]
        ids = [f"{e}-1" for e in self.pending if e in self.entries]
        if ids:
            self.client.xclaim(STREAM, GROUP, consumer, 0, ids, justid=True)
            self.pending |= {e: consumer for e in self.pending if e in self.entries}

    def entries_read(self, number: int) -> None:
        self.client.xgroup_setid(STREAM, GROUP, f"{self.position}-1", entries_read=number)

    def entries_added(self, number: int) -> None:
        added = len(self.entries) + number
        self.client.execute_command(
            "XSETID", STREAM, f"{self.last}-1", "ENTRIESADDED", added, "MAXDELETEDID", "0-0"
        )


exhaustive = settings(
    max_examples=examples(600),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.fault(47)
@pytest.mark.fault(63)
@exhaustive
@given(ops=operations(*HONEST, *LIES))
def test_a_depth_that_can_be_counted_is_exact_even_if_the_servers_numbers_are_wrong(
    client: redis.Redis, ops: list[Op]
) -> None:
    truth = Truth(client)
    for op in ops:
        truth.do(op)
    depth = RedisStreamProbe(client, STREAM, GROUP).measure()
    assert (depth.waiting, depth.pending) == (truth.waiting, len(truth.pending))
    assert not depth.estimated
    assert not depth.note


@pytest.mark.fault(47)
@exhaustive
@given(ops=operations(*HONEST), counted=st.integers(0, 3))
def test_a_depth_too_long_to_count_is_exact_or_an_upper_bound_that_says_so(
    client: redis.Redis, ops: list[Op], counted: int
) -> None:
    truth = Truth(client)
    for op in ops:
        truth.do(op)
    depth = RedisStreamProbe(client, STREAM, GROUP, counted=counted).measure()
    assert depth.pending == len(truth.pending)
    if depth.estimated:
        assert truth.waiting <= depth.waiting <= len(truth.entries)
        assert depth.note
    else:
        assert depth.waiting == truth.waiting
