"""The end of a range in steps, with a real Redis and real files, and no agent's process."""

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from pods.agent import patience
from pods.agent.control import Control
from pods.agent.dataset.backlog import RangeStream
from pods.agent.dataset.committing import Committing, NotCommitted
from pods.agent.dataset.dividing import MOST_DIVISIONS, Dividing
from pods.agent.dataset.parts import Written
from pods.agent.dataset.stores import Full, Unreachable, place
from pods.agent.dataset.work import Work
from pods.agent.dataset.writing import Closed
from pods.agent.holding import Holding
from pods.agent.patience import GivenUp, Patience
from pods.agent.progress import Progress
from pods.agent.protocol import DATASET, AgentSettings
from pods.agent.ranges import Format, PartName, Range, Receipt, Source
from pods.agent.routing import Routes
from pods.agent.settling import Settling
from pods.agent.stream import Entry
from tests.support.dataset_files import put_lines, put_table, whole

GOOD = Written(b"a part", None, 100, [], [])
WITH_ERRORS = Written(b"another part", b"errors", 99, ["r7"], ["bad"])


class Interrupted(RangeStream):
    """Other things happen before or after one of its calls."""

    after_the_look: Callable[[], Any] = staticmethod(lambda: None)
    before_a_commit: Callable[[], Any] = staticmethod(lambda: None)
    after_a_commit: Callable[[], Any] = staticmethod(lambda: None)

    def is_finished(self, entry: str) -> bool:
        found = super().is_finished(entry)
        self.after_the_look()
        return found

    def commit_range(self, *args: Any, **how: Any) -> Any:
        self.before_a_commit()
        answer = super().commit_range(*args, **how)
        self.after_a_commit()
        return answer


class Pod:
    """What a pod needs to end a range."""

    def __init__(self, backlog, folder, name: str) -> None:
        settings = AgentSettings(
            redis_url=backlog.url, fleet="test", pod=name, stream="tasks", group="workers",
            handler="m:f", kind=DATASET, claim_idle_seconds=0,
        )  # fmt: skip
        self.backlog, self.sink = backlog, place(folder.as_uri())
        self.stream, self.progress = Interrupted(settings), Progress()
        self.holding = Holding(1)
        self.holding.tune(1, 0.0)
        control = Control()
        asks = Patience(self.progress, control, 4)
        stores = Patience(self.progress, control, 4, passing=(Unreachable, Full))
        self.committing = Committing(self.stream, asks, stores, self.progress, control)
        settling = Settling(self.stream, self.holding, self.progress, asks, Routes(settings))
        self.dividing = Dividing(self.stream, asks, stores, settling, self.holding)

    def range(self) -> Range:
        source = Source("file:///in/t", "e", 10, Format.PARQUET)
        return Range(source, 0, 100, 100, self.sink.url)

    def take(self, of: Range | None = None) -> Work:
        """A new range of the stream in the hand of this pod."""
        of = of or self.range()
        entry: Any = self.backlog.client.xadd("tasks", dict(of.entry()))
        self.stream.read(1, 10_000)
        return self.work(entry.decode(), of)

    def work(self, entry: str, of: Range) -> Work:
        taken = Entry(entry, {key.encode(): b"" for key in of.entry()}, 5)
        self.holding.add([taken])
        return Work(taken, of, lambda work, slot: None, most_tries=3)

    def commit(self, work: Work, written: Written = GOOD, **changes: Any) -> None:
        done = work.range
        closed = Closed(work, done, (), written)._replace(**changes)
        self.committing.commit(closed)

    def files(self) -> set[str]:
        return {found.name for found in self.sink.list()}

    def receipts(self) -> list[Receipt]:
        return [Receipt.loads(raw) for raw in self.backlog.results().values()]


def name_of(work: Work, written: Written) -> PartName:
    return PartName.of(work.range, written.failed)


@pytest.fixture
def pod_named(backlog, tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.001)
    return lambda name: Pod(backlog, tmp_path, name)


@pytest.fixture
def pod(pod_named):
    return pod_named("a")


@pytest.fixture
def taken(pod):
    return pod.take()


def raises_once(error: Exception) -> Callable[[], None]:
    left = [error]

    def fail() -> None:
        if left:
            raise left.pop()

    return fail


def test_a_range_whose_rows_are_all_good_has_a_part_and_no_file_of_errors(pod, taken):
    pod.commit(taken)
    assert pod.files() == {str(name_of(taken, GOOD))}
    [receipt] = pod.receipts()
    assert (receipt.rows, receipt.done, receipt.errors) == (100, 100, "")
    assert 0 <= receipt.seconds < 5  # none of its rows was given to a handler
    assert pod.progress.counts().duplicates == 0


def test_a_range_with_a_failed_row_has_both_files(pod, taken):
    taken.began = time.monotonic() - 7
    pod.commit(taken, WITH_ERRORS)
    name = name_of(taken, WITH_ERRORS)
    assert pod.files() == {str(name), name.errors_name}
    assert pod.sink.at(name.errors_name).get() == b"errors"
    [receipt] = pod.receipts()
    assert (receipt.rows, receipt.failed, receipt.errors) == (100, 1, name.errors_name)
    assert receipt.seconds >= 7


def test_nothing_is_put_for_a_range_that_another_pod_has_finished(pod, pod_named, taken):
    other = pod_named("b")
    other.commit(other.work(taken.entry.id, taken.range))
    pod.commit(taken, WITH_ERRORS)
    assert pod.files() == {str(name_of(taken, GOOD))}
    assert pod.progress.counts().duplicates == 1


def test_a_sink_that_refuses_fails_the_range(pod, taken, tmp_path):
    (tmp_path / str(name_of(taken, GOOD))).mkdir()
    with pytest.raises(NotCommitted, match="the part could not be written"):
        pod.commit(taken)
    assert pod.receipts() == []


def finished_meanwhile_by(other: Pod, work: Work, written: Written) -> Callable[[], None]:
    """Another pod finishes the range while this one is frozen."""
    return lambda: other.commit(other.work(work.entry.id, work.range), written)


def test_a_pod_that_is_too_late_removes_both_of_its_files(pod, pod_named, taken):
    pod.stream.after_the_look = finished_meanwhile_by(pod_named("b"), taken, GOOD)
    pod.commit(taken, WITH_ERRORS)
    assert pod.files() == {str(name_of(taken, GOOD))}
    assert pod.progress.counts().duplicates == 1


def test_a_pod_that_is_too_late_with_good_rows_removes_its_part_alone(
    pod, pod_named, taken, caplog
):
    pod.stream.after_the_look = finished_meanwhile_by(pod_named("b"), taken, WITH_ERRORS)
    with caplog.at_level(logging.WARNING):
        pod.commit(taken)
    name = name_of(taken, WITH_ERRORS)
    assert pod.files() == {str(name), name.errors_name}
    assert "late_part_left" not in caplog.text


def test_a_part_of_the_same_name_that_counts_is_left(pod, pod_named, taken):
    pod.stream.before_a_commit = finished_meanwhile_by(pod_named("b"), taken, GOOD)
    pod.commit(taken)
    assert pod.files() == {str(name_of(taken, GOOD))}
    assert pod.progress.counts().duplicates == 1


def test_a_part_that_was_there_before_is_left_by_a_pod_that_is_too_late(pod, pod_named, taken):
    """It may be of a third pod, which commits it later."""
    pod.sink.at(str(name_of(taken, GOOD))).put(b"a part")
    pod.stream.after_the_look = finished_meanwhile_by(pod_named("b"), taken, WITH_ERRORS)
    pod.commit(taken)
    assert str(name_of(taken, GOOD)) in pod.files()


def test_a_part_is_left_where_nobody_knows_any_more_which_one_counts(pod, taken):
    def forget() -> None:
        pod.backlog.client.xack("tasks", "workers", taken.entry.id)

    pod.stream.after_the_look = forget
    pod.commit(taken)
    assert pod.files() == {str(name_of(taken, GOOD))}
    assert pod.progress.counts().duplicates == 1


def test_a_commit_whose_answer_was_lost_is_this_pods_own(pod, taken):
    pod.stream.after_a_commit = raises_once(redis.ConnectionError("lost"))
    pod.commit(taken)
    assert pod.files() == {str(name_of(taken, GOOD))}
    assert (len(pod.receipts()), pod.progress.counts().duplicates) == (1, 0)


def test_a_commit_that_is_repeated_may_still_be_too_late(pod, pod_named, taken):
    pod.stream.before_a_commit = raises_once(redis.ConnectionError("away"))
    pod.stream.after_the_look = finished_meanwhile_by(pod_named("b"), taken, WITH_ERRORS)
    pod.commit(taken)
    assert str(name_of(taken, GOOD)) not in pod.files()
    assert pod.progress.counts().duplicates == 1


def test_a_lost_answer_and_a_lost_receipt_leave_the_part(pod, taken):
    def lose() -> None:
        pod.backlog.client.delete("tasks:results")
        pod.stream.after_a_commit = lambda: None
        raise redis.ConnectionError("lost")

    pod.stream.after_a_commit = lose
    pod.commit(taken)
    assert pod.files() == {str(name_of(taken, GOOD))}


def test_an_agent_that_must_end_puts_nothing_more(pod, taken):
    pod.committing.deadline = time.monotonic() + 60
    pod.commit(taken)
    second = pod.take()
    pod.committing.deadline = time.monotonic() - 1
    with pytest.raises(GivenUp, match="the server could not be reached in time"):
        pod.commit(second, WITH_ERRORS)
    assert pod.files() == {str(name_of(taken, GOOD))}


def test_an_agent_that_must_end_waits_for_redis_no_longer(pod, taken):
    def end() -> None:
        pod.committing.deadline = time.monotonic() - 1
        raise redis.ConnectionError("away")

    pod.stream.before_a_commit = end
    with pytest.raises(GivenUp, match="Redis could not be reached in time"):
        pod.commit(taken)
    assert pod.backlog.pending() == 1


# A range that ended its pods.


def a_table(pod: Pod, rows: int) -> Range:
    source = put_table(pod.sink.at("t"), {"id": list(map(str, range(rows)))})
    return whole(source, rows, pod.sink.url)


def rows_count(pod: Pod) -> dict[bytes, bytes]:
    return pod.backlog.client.hgetall(pod.backlog.keys.rows)


def test_a_range_that_ended_its_pods_is_put_back_in_pieces(pod):
    work = pod.take(a_table(pod, 3))
    assert not pod.dividing.one_row(work)
    assert work.given_up == ""
    assert len(pod.stream.read(5, 10_000)[0]) == 3
    assert (len(pod.holding), pod.backlog.dead()) == (0, [])
    assert rows_count(pod)[b"planned"] == b"0"


def test_one_row_that_ended_its_pods_is_given_up_and_stays_in_hand(pod):
    work = pod.take(a_table(pod, 1))
    assert pod.dividing.one_row(work)
    assert work.given_up == "its pod ended 4 times while it worked on this row"
    assert (len(pod.holding), pod.backlog.pending()) == (1, 1)
    assert rows_count(pod) == {b"divided": b"1"}


def test_one_row_of_another_pod_is_not_given_up(pod, pod_named):
    work = pod.take(a_table(pod, 1))
    late = pod_named("late")
    theirs = late.work(work.entry.id, work.range)
    assert not late.dividing.one_row(theirs)
    assert theirs.given_up == ""
    assert (len(late.holding), pod.backlog.pending_of("a")) == (0, 1)


@pytest.mark.parametrize("rows", [1, 3])
def test_after_too_many_divisions_a_range_is_a_dead_letter(pod, rows):
    pod.backlog.client.hset(pod.backlog.keys.rows, "divided", str(MOST_DIVISIONS))
    work = pod.take(a_table(pod, rows))
    assert not pod.dividing.one_row(work)
    [letter] = pod.backlog.dead()
    assert letter[b"dead_error"] == b"given up: begun 4 times, and no agent reported back"
    assert pod.backlog.pending() == 0


def test_a_range_that_cannot_be_read_is_a_dead_letter_that_says_why(pod):
    source = put_lines(pod.sink.at("l"), [{"id": 1}] * 3)
    work = pod.take(whole(source, 3, pod.sink.url))
    pod.sink.at("l").delete()
    assert not pod.dividing.one_row(work)
    [letter] = pod.backlog.dead()
    assert b"does not exist" in letter[b"dead_error"]
    assert rows_count(pod) == {b"dead": b"3"}
