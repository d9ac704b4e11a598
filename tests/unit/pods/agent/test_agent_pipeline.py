"""From the handler's process to the commits: frames arrive whole, and few commits have many items."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agent.batch_counter import BatchCounter, shared_memory
from pods.agent.calling import Failed
from pods.agent.link import LARGE_BYTES, Aside, Link
from pods.agent.outbox import MOST_BYTES, MOST_WAITING, WORTH_A_COMMIT, Outbox
from pods.agent.stream import LARGEST_COMMIT_BYTES, LARGEST_STEP, Entry
from tests.support.waiting import until

PATIENCE_SECONDS = 20.0


@pytest.fixture
def ends():
    ours, theirs = map(Link, socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def items(first, count):
    return [Entry(f"{n}-0", {}) for n in range(first, first + count)], [b"r"] * count


def in_a_thread(what):
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    return thread


FRAMES = st.recursive(
    st.none() | st.integers() | st.binary() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.binary(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(frame=FRAMES, large=st.lists(st.binary(max_size=100), max_size=4))
def test_a_frame_arrives_as_it_was_sent(frame, large):
    ours, theirs = map(Link, socket.socketpair())
    ours.send(frame, large)
    assert theirs.receive() == (frame, large)
    ours.close()
    theirs.close()


def test_values_larger_than_the_sockets_buffer_arrive_whole_and_in_order(ends):
    ours, theirs = ends
    aside = Aside()
    values = [b"small", b"a" * LARGE_BYTES, b"b" * 5_000_000]
    frame = [aside.put(value) for value in values]
    assert frame == [b"small", 0, 1]
    sender = in_a_thread(lambda: ours.send([frame], aside.values))
    [got], large = theirs.receive()
    sender.join(PATIENCE_SECONDS)
    assert [large[v] if isinstance(v, int) else v for v in got] == values


def test_the_end_of_the_other_process_is_an_end_of_file_also_within_a_frame(ends):
    ours, theirs = ends
    assert not theirs.has_something(0)
    ours._socket.sendall(b"\0" * 5)
    ours.close()
    assert theirs.has_something(PATIENCE_SECONDS)
    with pytest.raises(EOFError):
        theirs.receive()


def test_another_process_with_the_memory_can_read_the_count():
    fd = shared_memory()
    child, agent = BatchCounter(fd), BatchCounter(fd)
    for _ in range(300):
        child.count()
    assert agent.so_far() == 300


def took(outbox, taken, end):
    """Commit what there is, until `end`."""
    with outbox.taking() as (entries, outcomes):
        taken.append(([e.id for e in entries], outcomes))
        end.wait(PATIENCE_SECONDS)


def test_a_commit_goes_at_once_where_none_is_under_way():
    worked = Outbox()
    worked.put(*items(0, 1))
    with worked.taking() as (entries, _):
        assert [e.id for e in entries] == ["0-0"]


def test_a_few_items_wait_for_the_commit_under_way_and_then_go_together():
    worked, taken, end = Outbox(), [], threading.Event()
    worked.put(*items(0, 1))
    end.set()
    with worked.taking():
        taker = in_a_thread(lambda: took(worked, taken, end))
        worked.put(*items(1, 2))
        worked.put([Entry("9-0", {})], [Failed("no")])
        assert taken == []
    taker.join(PATIENCE_SECONDS)
    assert taken == [(["1-0", "2-0", "9-0"], [b"r", b"r", Failed("no")])]


def waiting_takers(outbox, count, taken, end):
    """Committers that wait for items."""
    takers = [in_a_thread(lambda: took(outbox, taken, end)) for _ in range(count)]
    until(lambda: len(outbox._ripe._waiters) == count)
    return takers


def test_a_committer_that_waits_gets_the_first_items_at_once():
    worked, taken, end = Outbox(), [], threading.Event()
    [taker] = waiting_takers(worked, 1, taken, end)
    end.set()
    worked.put(*items(0, 1))
    taker.join(PATIENCE_SECONDS)
    assert taken == [(["0-0"], [b"r"])]


def test_a_few_items_do_not_make_another_commit_worth_its_while():
    worked = Outbox()
    worked.put(*items(0, 1))
    with worked.taking():
        worked.put(*items(1, WORTH_A_COMMIT - 1))
        assert not worked._is_ripe()
        worked.put(*items(WORTH_A_COMMIT, 1))
        assert worked._is_ripe()


def test_what_does_not_fit_into_one_commit_goes_at_once_with_another():
    worked, taken, end = Outbox(), [], threading.Event()
    worked.put(*items(0, 1))
    with worked.taking():
        takers = waiting_takers(worked, 2, taken, end)
        worked.put(*items(1, WORTH_A_COMMIT - 1))
        worked.put(*items(1000, LARGEST_STEP))
        until(lambda: len(taken) == 2)
        end.set()
    for taker in takers:
        taker.join(PATIENCE_SECONDS)
    assert sorted(len(outcomes) for _, outcomes in taken) == [WORTH_A_COMMIT - 1, LARGEST_STEP]


def test_many_items_do_not_wait_for_the_commit_under_way():
    worked = Outbox()
    worked.put(*items(0, 1))
    with worked.taking():
        worked.put(*items(1, WORTH_A_COMMIT))
        with worked.taking() as (entries, _):
            assert len(entries) == WORTH_A_COMMIT


def test_what_finished_while_all_committers_were_busy_goes_in_full_commits():
    worked = Outbox()
    worked.put(*items(0, 1))
    with worked.taking():
        for n in range(10):
            worked.put(*items(100 * n, 100))
        with worked.taking() as (first, _), worked.taking() as (second, _):
            assert [len(first), len(second)] == [500, 500]


def test_large_results_are_not_put_together():
    worked, half = Outbox(), b"r" * (LARGEST_COMMIT_BYTES // 2)
    for n in range(3):
        worked.put([Entry(f"{n}-0", {})], [half])
    with worked.taking() as (entries, _):
        assert [e.id for e in entries] == ["0-0", "1-0"]


@pytest.mark.parametrize(
    ("before", "answer", "waits"),
    [
        (MOST_WAITING - 1, ([Entry("n-0", {})], [b"r"]), False),
        (MOST_WAITING, ([Entry("n-0", {})], [b"r"]), True),
        (1, ([Entry("n-0", {})], [b"r" * (MOST_BYTES - 2)]), False),
        (1, ([Entry("n-0", {})], [b"r" * MOST_BYTES]), True),
    ],
)
def test_the_handler_is_not_read_while_too_much_waits_for_a_commit(before, answer, waits):
    worked, heard = Outbox(), threading.Event()
    worked.put(*items(0, 1))
    with worked.taking():
        worked.put(*items(1, before))
        listener = in_a_thread(lambda: (worked.put(*answer), heard.set()))
        if waits:
            assert not heard.wait(0.05)
        else:
            listener.join(PATIENCE_SECONDS)
            assert heard.is_set()
    with worked.taking():
        pass
    listener.join(PATIENCE_SECONDS)
    assert heard.is_set()


def test_the_results_of_the_commits_under_way_count_and_one_answer_of_any_size_may_wait():
    worked, heard = Outbox(), threading.Event()
    worked.put([Entry("0-0", {})], [b"r" * (MOST_BYTES + 1)])
    with worked.taking():
        listener = in_a_thread(lambda: (worked.put(*items(1, 1)), heard.set()))
        assert not heard.wait(0.05)
    listener.join(PATIENCE_SECONDS)
    assert heard.is_set()


class Drip:
    """A socket of which a read may bring less than was asked for, as when a signal comes."""

    def __init__(self, whole):
        self.whole = whole

    def recv(self, size, flags):
        return self.whole.recv(min(size, 3), flags)


def test_a_read_that_a_signal_cut_short_goes_on(ends):
    ours, theirs = ends
    theirs._socket = Drip(whole := theirs._socket)
    ours.send(["a frame"], [b"large"])
    assert theirs.receive() == (["a frame"], [b"large"])
    theirs._socket = whole
