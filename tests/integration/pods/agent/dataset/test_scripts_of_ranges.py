"""The calls of an agent of a dataset to a real Redis, condition by condition."""

from typing import Any

import pyarrow as pa
import pytest
import redis

from pods.agent.dataset.backlog import RangeStream
from pods.agent.protocol import DATASET, RELEASED_CONSUMER, AgentSettings
from pods.agent.ranges import Format, Range, Receipt, Source
from pods.agent.stream import Failure, Fenced

OF = Range(Source("file:///in/t", "e", 10, Format.PARQUET), 0, 100, 100, "file:///out")
PIECES = [OF.until(50, 50), OF.rest(50, 50)]
RECEIPT = Receipt(OF.id, OF.source.url, 0, 100, 100, 98, 2, 9, 1.0, "part", "etag")
SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64())])


@pytest.fixture
def stream_of(backlog):
    def stream(pod: str) -> RangeStream:
        return RangeStream(
            AgentSettings(
                redis_url=backlog.url, fleet="test", pod=pod, stream="tasks", group="workers",
                handler="m:f", kind=DATASET, longest_results=0,
            )
        )  # fmt: skip

    return stream


@pytest.fixture
def pod(stream_of):
    return stream_of("a")


def feed(backlog, *ranges: Range) -> list[str]:
    made: list[Any] = [backlog.client.xadd("tasks", dict(of.entry())) for of in ranges]
    return [entry.decode() for entry in made]


@pytest.fixture
def held(backlog, pod):
    """A range in the hand of `a`."""
    [entry] = feed(backlog, OF)
    pod.read(1, 10_000)
    return entry


def counts(backlog) -> dict[bytes, bytes]:
    return backlog.client.hgetall(backlog.keys.rows)


def waiting(stream: RangeStream) -> list[Any]:
    return [entry.fields for entry in stream.read(10, 100_000)[0]]


def test_a_fenced_pod_ends_divides_and_asks_nothing(backlog, pod, held):
    backlog.client.set(backlog.keys.fence("a"), "1")
    for attempt in (
        lambda: pod.commit_range(held, RECEIPT, 0, ()),
        lambda: pod.divide(held, PIECES, 0, 100),
        lambda: pod.fix_schema(SCHEMA),
        pod.idle_agents,
    ):
        with pytest.raises(Fenced):
            attempt()
    assert (backlog.pending_of("a"), counts(backlog), backlog.results()) == (1, {}, {})


@pytest.mark.parametrize("key", ["results", "rows"])
def test_a_range_stays_pending_where_its_receipt_or_its_count_cannot_be_written(
    backlog, pod, held, key
):
    name = backlog.keys.rows if key == "rows" else "tasks:results"
    backlog.client.set(name, "a string")
    with pytest.raises(redis.ResponseError, match=f"WRONGTYPE {name} is a string, not a "):
        pod.commit_range(held, RECEIPT, 0, ())
    if key == "rows":
        with pytest.raises(redis.ResponseError, match="is a string, not a hash"):
            pod.divide(held, PIECES, 0, 100)
        with pytest.raises(redis.ResponseError, match="is a string, not a hash"):
            pod.fail([Failure(held, "e", final=True)])
    assert backlog.pending_of("a") == 1
    assert backlog.client.xlen("tasks") == 1
    assert backlog.dead() == []


def test_a_late_commit_learns_the_receipt_of_its_own_range(backlog, pod):
    first, second = feed(backlog, *PIECES)
    pod.read(2, 10_000)
    others = Receipt(PIECES[1].id, "x", 50, 100, 50, 50, 0, 9, 1.0, "other part", "etag")
    for entry, receipt in ((first, RECEIPT), (second, others)):
        assert pod.commit_range(entry, receipt, 0, ()) == (True, receipt)
    assert pod.commit_range(first, others, 0, ()) == (False, RECEIPT)
    assert counts(backlog) == {b"planned": b"0", b"done": b"148", b"failed": b"2"}
    backlog.client.delete("tasks:results")
    assert pod.commit_range(first, RECEIPT, 0, ()) == (False, None)


def test_a_receipt_that_cannot_be_read_is_unknown(backlog, pod):
    backlog.client.xadd("tasks:results", {"entry": "1-1", "result": "nonsense"})
    assert pod.commit_range("1-1", RECEIPT, 0, ()) == (False, None)


def test_receipts_without_a_limit_are_never_trimmed(backlog, pod):
    for _ in range(250):
        backlog.client.xadd("tasks:results", {"entry": "0-1", "result": "r"})
    [entry] = feed(backlog, OF)
    pod.read(1, 10_000)
    pod.commit_range(entry, RECEIPT, 0, ())
    assert backlog.client.xlen("tasks:results") == 251


def test_a_divided_range_has_its_pieces_in_its_place(backlog, pod, held):
    assert pod.divide(held, PIECES, 3, 100) == 1
    assert counts(backlog) == {b"divided": b"1", b"planned": b"3"}
    assert pod.is_finished(held)
    assert [fields[b"id"].decode() for fields in waiting(pod)] == [of.id for of in PIECES]
    assert pod.divide(held, PIECES, 3, 100) == 0  # its answer was lost
    assert counts(backlog)[b"divided"] == b"1"


def test_a_range_without_pieces_is_counted_and_stays_in_hand(backlog, pod, held):
    assert pod.divide(held, (), 0, 100) == 1
    assert counts(backlog) == {b"divided": b"1"}
    assert not pod.is_finished(held)


def test_no_range_of_another_pod_is_divided(backlog, stream_of, held):
    assert stream_of("b").divide(held, PIECES, 0, 100) == 0
    assert (backlog.pending_of("a"), counts(backlog)) == (1, {})


def test_no_more_ranges_are_divided_than_allowed(backlog, pod, held):
    assert pod.divide(held, (), 0, 1) == 1
    assert pod.divide(held, PIECES, 0, 1) == -1
    assert counts(backlog) == {b"divided": b"1"}
    assert not pod.is_finished(held)


def test_the_rows_of_a_dead_range_are_counted(backlog, pod):
    [first, second] = feed(backlog, OF, PIECES[0])
    [nameless] = backlog.put(b"no range")
    pod.read(3, 10_000)
    for entry in (first, second, nameless):
        assert pod.fail([Failure(entry, "e", final=True)])[0].became == "dead"
    assert counts(backlog) == {b"dead": b"150"}


def test_the_rows_of_a_dead_range_that_is_gone_are_not_counted(backlog, pod, held):
    backlog.client.xtrim("tasks", maxlen=0, approximate=False)
    assert pod.fail([Failure(held, "e", final=True)])[0].became == "dead"
    assert counts(backlog) == {}


def test_the_first_schema_stays(backlog, stream_of, pod):
    assert pod.fix_schema() is None
    assert pod.fix_schema(SCHEMA) == SCHEMA
    assert stream_of("b").fix_schema(pa.schema([("id", pa.string())])) == SCHEMA
    assert stream_of("b").fix_schema() == SCHEMA


@pytest.fixture
def idle_pods(backlog, pod):
    """Pods of the group that have just asked for work."""

    def join(*names: str) -> None:
        for name in names:
            backlog.client.xreadgroup("workers", name, {"tasks": ">"})

    join("a")
    return join


def test_pods_that_have_just_asked_for_work_are_idle(backlog, pod, idle_pods):
    assert pod.idle_agents() == 0
    idle_pods("b", "c", RELEASED_CONSUMER)
    assert pod.idle_agents() == 2
    assert pod._call("idle", [RELEASED_CONSUMER, 0]) == 0  # they asked too long ago


def test_a_pod_with_a_range_in_hand_is_not_idle(backlog, pod, idle_pods):
    feed(backlog, OF)
    idle_pods("b")
    assert pod.idle_agents() == 0


def test_a_pod_of_another_group_is_not_idle_in_this_one(backlog, pod, idle_pods):
    backlog.client.xgroup_create("tasks", "others", "0")
    feed(backlog, OF)
    backlog.client.xreadgroup("workers", "b", {"tasks": ">"})  # nothing waits in this group
    backlog.client.xgroup_createconsumer("tasks", "others", "c")
    assert pod.idle_agents() == 0
    idle_pods("d")
    assert pod.idle_agents() == 1


@pytest.mark.parametrize("given_back", [False, True])
def test_no_pod_is_idle_while_a_range_waits(backlog, pod, idle_pods, given_back):
    idle_pods("b")
    feed(backlog, OF)
    if given_back:
        idle_pods(RELEASED_CONSUMER)
    assert pod.idle_agents() == 0


def test_an_entry_is_finished_when_nobody_has_it_any_more(backlog, pod, held):
    assert not pod.is_finished(held)
    backlog.client.xack("tasks", "workers", held)
    assert pod.is_finished(held)
