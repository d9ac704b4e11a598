"""The agent's side of the handler's process, one step at a time, with a process that a test plays."""

import threading
import time
from types import SimpleNamespace

import pytest

from pods.agent import handler_process
from pods.agent.calling import Failed
from pods.agent.forming import Limits
from pods.agent.handler_process import MOST_FAILED_LOADS
from pods.agent.link import LARGE_BYTES
from pods.agent.shares import Doing
from tests.support.rigs.played_process import Played, Quick, batch

A_MOMENT = 0.02
PATIENCE_SECONDS = 20.0


@pytest.fixture
def make():
    made = []

    def played(**options):
        made.append(Played(**options))
        return made[-1]

    yield played
    for each in made:
        each.close_links()


ONE, TWO, THREE = batch(1), batch(2, 3), batch(4)


def waits(process, what, then):
    """What it answers, which it does not before `then`."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(what()), daemon=True)
    thread.start()
    thread.join(A_MOMENT)
    assert answers == []
    with process._changed:
        then()
        process._changed.notify_all()
    thread.join(PATIENCE_SECONDS)
    return answers[0]


# Room, and batches on their way in.


@pytest.mark.parametrize(
    ("batch_seconds", "inside", "room"),
    [(0, 0, 1), (0, 1, 1), (0, 2, 0), (0.001, 0, 4), (0.001, 4, 4), (0.001, 5, 0),
     (0.004, 1, 1), (0.3, 0, 1), (0.3, 1, 0)],
)  # fmt: skip
def test_quick_batches_go_together_and_no_long_one_waits_inside(make, batch_seconds, inside, room):
    process = make().runs(*[ONE] * inside)
    process._batch_seconds = batch_seconds
    assert process._room() == room
    if room:
        assert process.wait_for_room() == room


def test_room_is_waited_for_until_the_process_is_ready_has_answered_or_is_closed(make):
    process = make().runs()
    process._ready = False
    assert waits(process, process.wait_for_room, lambda: setattr(process, "_ready", True)) == 1
    process._inside.extend([ONE, ONE])
    assert waits(process, process.wait_for_room, process._inside.clear) == 1
    process._ready = False
    assert waits(process, process.wait_for_room, lambda: setattr(process, "_closed", True)) == 0


def test_a_suspect_waits_until_the_process_is_empty_and_ready_or_closed(make):
    process = make().runs(ONE)
    assert waits(process, process.wait_until_empty, process._inside.clear) is None
    process._ready = False
    ready = lambda: setattr(process, "_ready", True)  # noqa: E731
    assert waits(process, process.wait_until_empty, ready) is None
    process._ready, process._closed = False, True
    assert process.wait_until_empty() is None


def test_batches_are_sent_with_their_large_values_beside_them(make):
    process = make().runs()
    began = time.monotonic()
    large = batch(9, size=LARGE_BYTES)
    sender = threading.Thread(target=lambda: process.submit([ONE, large]))
    sender.start()
    assert process.peer.receive() == (
        [[("1-0", {b"p": b"x"})], [("9-0", {b"p": 0})]],
        [b"x" * LARGE_BYTES],
    )
    sender.join()
    assert list(process._inside) == [ONE, large]
    assert (process._since >= began, process.did) == (True, [Doing.BUSY])
    process._since = 5.0
    assert process.submit([TWO])
    assert (process._since, process.did) == (5.0, [Doing.BUSY])  # it was busy already


def test_no_batch_goes_to_a_closed_process_and_one_that_died_is_noticed_later(make):
    process = make().runs()
    process.theirs.close()
    assert process.submit([ONE])
    process._closed, process._ready = True, False
    assert not process.submit([TWO])
    assert list(process._inside) == [ONE]


# Answers.


def answer(process, batches, seconds, said, found=None, large=()):
    process.peer.send((batches, seconds, said, found), large)
    process._hear()


def test_each_answer_goes_to_the_agent_with_its_items(make):
    process = make().runs(ONE, TWO, THREE)
    answer(process, 2, 0.2, [b"1", b"2", b"3"])
    assert process.worked == [([*ONE, *TWO], [b"1", b"2", b"3"], 2, 0.2)]
    assert (list(process._inside), process._answered, process.did) == ([THREE], 2, [])
    assert process._batch_seconds == pytest.approx(0.1)
    answer(process, 1, 0.6, [("boom", "trace", True)], (4, 0.0))
    assert process.worked[1] == (THREE, [Failed("boom", "trace", final=True)], 1, 0.6)
    assert process._batch_seconds == pytest.approx(0.1 + 0.2 * 0.5)
    assert (process.did, process.found) == ([Doing.WAITING], [Limits(4)])


def test_a_large_result_comes_beside_the_answer_or_in_the_ring(make):
    process = make().runs(TWO)
    answer(process, 1, 0.1, [b"small", 0], large=[b"large"])
    assert process.worked[0][1] == [b"small", b"large"]
    assert process._outcome(("boom", "trace"), []) == Failed("boom", "trace")
    process._ring = SimpleNamespace(take=lambda start, size: (start, size, "in the ring"))
    assert process._outcome((64, 8), []) == (64, 8, "in the ring")
    assert process._outcome(("boom", "", False), []) == Failed("boom")


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(handler_process, "POLL_SECONDS", 0)


@pytest.mark.usefixtures("at_once")
def test_a_process_that_ended_is_noticed_after_its_last_answer(make):
    process = make()
    with pytest.raises(EOFError):
        process._hear()
    process.runs(ONE)
    process._hear()  # it works
    process._child.status = 1
    with pytest.raises(EOFError):
        process._hear()
    comes = [False, True]  # the answer comes between two looks
    process._link = SimpleNamespace(has_something=lambda seconds: comes.pop(0))
    process._hear()
    assert comes == []


@pytest.mark.usefixtures("at_once")
def test_only_a_batch_that_takes_too_long_is_a_hang(make):
    process = make().runs()
    process._since -= 61
    process._hear()  # it has nothing to do
    process._inside.append(ONE)
    with pytest.raises(TimeoutError, match="the handler took longer than 60 s for a batch"):
        process._hear()
    process._since = time.monotonic()
    process._hear()


# A crash, and the end.


def crashes(process, exc, monkeypatch):
    began, again = time.monotonic(), []
    monkeypatch.setattr(handler_process, "CRASHED_IDLE_PAUSE_SECONDS", A_MOMENT)
    monkeypatch.setattr(process, "_start_again", lambda: again.append(1))
    process._recover(exc)
    assert (again, process._ready, process.did) == ([1], False, [Doing.STARTING])
    return time.monotonic() - began


@pytest.mark.parametrize(("status", "why"), [(-11, "signal 11"), (3, "exit status 3")])
def test_the_batch_that_was_begun_last_is_blamed_for_a_crash(make, monkeypatch, status, why):
    process = make().runs(ONE, TWO, THREE)
    process.has_begun(3)
    process._answered = 1
    process._child.status = status
    crashes(process, OSError("the connection was reset"), monkeypatch)
    assert process.crashed == [(TWO, [ONE, THREE], f"the handler's process ended with {why}")]
    assert (list(process._inside), process._child.killed) == ([], 0)
    assert process.peer.has_something(0)  # the end: its own socket is closed


def test_a_process_that_hangs_is_killed_and_its_first_batch_blamed_if_it_began_none(
    make, monkeypatch
):
    process = make().runs(ONE, TWO)
    crashes(process, TimeoutError("it took too long"), monkeypatch)
    assert process.crashed == [(ONE, [TWO], "it took too long")]
    assert process._child.killed == 1


def test_a_process_that_dies_without_a_batch_is_started_again_after_a_pause(make, monkeypatch):
    process = make().runs()
    assert crashes(process, EOFError(), monkeypatch) >= A_MOMENT
    busy = make().runs(ONE)
    monkeypatch.setattr(busy, "_changed", Quick())
    crashes(busy, EOFError(), monkeypatch)
    assert busy._changed.pauses == []
    unknown = make()
    unknown._inside.append(ONE)
    crashes(unknown, EOFError(), monkeypatch)
    assert unknown.crashed == [(ONE, [], "")]


def starts(process, monkeypatch, *answers):
    """Start it again, where each try answers so."""
    left = list(answers)

    def try_to_start():
        return left.pop(0)()

    monkeypatch.setattr(process, "_changed", Quick())
    monkeypatch.setattr(process, "_try_to_start", try_to_start)
    process._start_again()
    return len(answers) - len(left)


def test_a_handler_that_fails_to_load_again_and_again_is_broken(make, monkeypatch):
    process = make()
    good, bad = lambda: None, lambda: "no module"
    assert starts(process, monkeypatch, bad, good, bad) == 2
    assert (process.restarted, process.broken, process._changed.pauses) == (1, [], [2.0])
    assert starts(process, monkeypatch, *[bad] * 5) == MOST_FAILED_LOADS
    assert (process.restarted, process.broken, process._closed) == (1, ["no module"], True)


def test_a_closed_process_is_not_started_again(make, monkeypatch):
    process = make()

    def closed():
        process._closed = True
        return "it was killed"

    assert starts(process, monkeypatch, closed, closed) == 1
    assert (process.restarted, process.broken) == (0, [])


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("kindly", [False, True])
def test_the_process_ends_after_its_teardown_or_at_once(make, kindly, hangs):
    process = make().runs()
    process._child.hangs = hangs
    process.close(kindly=kindly)
    assert process.peer.has_something(0) is kindly
    assert process._child.status == (0 if kindly and not hangs else -9)
    make().close(kindly=True)  # nothing was started


def test_the_batches_that_were_not_begun_are_known_after_the_end(make):
    process = make().runs(ONE, TWO, THREE)
    process.has_begun(3)
    process._answered = 2
    assert process.not_begun() == [TWO, THREE]
    process._begun = None
    assert process.not_begun() == [ONE, TWO, THREE]
