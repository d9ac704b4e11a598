"""From the handler's process to the commits: frames arrive whole, and few commits have many items."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agent.batch_counter import BatchCounter, shared_memory
from pods.agent.calling import Failed
from pods.agent.link import LARGE_BYTES, Aside, Link
from pods.agent.outbox import MOST_WAITING, WORTH_A_COMMIT, Outbox
from pods.agent.stream import Entry

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


def test_a_commit_goes_at_once_where_none_is_under_way():
    worked = Outbox()
    worked.put(*items(0, 1))
    assert [e.id for e in worked.take()[0]] == ["0-0"]


def test_a_few_items_wait_for_the_commit_under_way_and_then_go_together():
    worked = Outbox()
    worked.put(*items(0, 1))
    worked.take()
    taken = []
    taker = in_a_thread(lambda: taken.append(worked.take()))
    worked.put(*items(1, 2))
    worked.put([Entry("9-0", {})], [Failed("no")])
    assert taken == []
    worked.done()
    taker.join(PATIENCE_SECONDS)
    [(entries, outcomes)] = taken
    assert [e.id for e in entries] == ["1-0", "2-0", "9-0"]
    assert outcomes == [b"r", b"r", Failed("no")]


def test_many_items_do_not_wait_for_the_commit_under_way():
    worked = Outbox()
    worked.put(*items(0, 1))
    worked.take()
    worked.put(*items(1, WORTH_A_COMMIT))
    assert len(worked.take()[0]) == WORTH_A_COMMIT


def test_the_handler_is_not_read_while_too_much_waits_for_a_commit():
    worked = Outbox()
    worked.put(*items(0, 1))
    worked.take()
    for n in range(MOST_WAITING):
        worked.put(*items(10 * n, 1))
    heard = threading.Event()
    listener = in_a_thread(lambda: (worked.put(*items(99, 1)), heard.set()))
    assert not heard.is_set()
    worked.done()
    assert len(worked.take()[0]) == MOST_WAITING
    listener.join(PATIENCE_SECONDS)
    assert heard.is_set()
