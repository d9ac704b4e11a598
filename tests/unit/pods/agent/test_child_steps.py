"""What the handler's process does with each frame of its agent."""

import os
import queue
import signal
import socket
import sys
import threading
from types import SimpleNamespace

import pytest

from pods.agent import child, masking, ring
from pods.agent.batch_counter import BatchCounter, shared_memory
from pods.agent.calling import Caller, Failed, HandlerNotFound
from pods.agent.child import Answering
from pods.agent.forming import Limits
from pods.agent.link import LARGE_BYTES, Link
from pods.agent.protocol import DATASET, ITEMS
from pods.agent.ring import RingWriter
from tests.support.little_memory import items

PATIENCE_SECONDS = 20.0
LARGE = b"x" * LARGE_BYTES


@pytest.fixture
def ends():
    ours, theirs = map(Link, socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_secret_replaces_a_variable_until_it_is_gone(monkeypatch):
    monkeypatch.setattr(child, "_HIDDEN", {})
    monkeypatch.setenv("OF_THE_POD", "before")
    monkeypatch.delenv("NEW_SECRET", raising=False)
    child._put({"OF_THE_POD": "secret-1", "NEW_SECRET": "secret-2"})
    child._put({"OF_THE_POD": "secret-3", "NEW_SECRET": "secret-2"})
    assert (os.environ["OF_THE_POD"], os.environ["NEW_SECRET"]) == ("secret-3", "secret-2")
    child._put({"OF_THE_POD": None, "NEW_SECRET": None})
    assert (os.environ["OF_THE_POD"], os.environ.get("NEW_SECRET")) == ("before", None)


def test_what_calls_a_handler_follows_from_the_kind_of_work():
    def plain(batch):
        return [b"r"] * len(batch)

    columns = SimpleNamespace(takes_columns=True)
    assert child._caller(plain, "m:f", ITEMS, 8)(items(b"x")) == [b"r"]
    with pytest.raises(HandlerNotFound, match="m:f takes columns; only a dataset has them"):
        child._caller(columns, "m:f", ITEMS, 8)
    assert type(child._caller(plain, "m:f", DATASET, 8)) is Caller
    assert child._caller(plain, "m:f", DATASET, 8)(items(b"x")) != [b"r"]  # a packed value
    assert type(child._caller(columns, "m:f", DATASET, 8)).__name__ == "ColumnsCaller"


class Writable:
    """A value whose bytes are not made yet."""

    def write(self, into):
        raise AssertionError

    def packed(self):
        return b"packed"


@pytest.mark.parametrize(
    ("placed", "said"), [(None, b"packed"), ((64, 6), (64, 6)), ("no ring", b"packed")]
)
def test_an_outcome_goes_beside_the_answer_or_into_the_ring(ends, placed, said):
    ours, theirs = ends
    ring = None if placed == "no ring" else SimpleNamespace(put=lambda value: placed)
    answer = Answering(ours, ring)
    answer.keep([b"small", LARGE, Failed("boom", "trace", final=True), Writable()])
    sender = threading.Thread(target=lambda: answer.send(1, 0.5, None))
    sender.start()
    assert theirs.receive() == (
        (1, 0.5, [b"small", 0, ("boom", "trace", True), said], None),
        [LARGE],
    )
    sender.join()
    answer.send(0, 0.0, Limits(4, 0.5))
    assert theirs.receive() == ((0, 0.0, [], (4, 0.5)), [])


@pytest.mark.parametrize(("silence", "sent"), [(3600, [2]), (-1, [1, 1])])
def test_quick_batches_are_reported_together_and_slow_ones_at_once(
    ends, monkeypatch, silence, sent
):
    ours, theirs = ends
    monkeypatch.setattr(child, "LONGEST_SILENCE_SECONDS", silence)
    begun = BatchCounter(shared_memory())
    caller = Caller(lambda batch: [b"r"] * len(batch))
    assert child._work_off([items(b"1"), items(b"2")], caller, Answering(ours, None), begun)
    assert [theirs.receive()[0][0] for _ in sent] == sent
    assert (theirs.has_something(0), begun.so_far()) == (False, 2)


def test_other_frames_are_secrets_limits_or_the_end(ends, monkeypatch):
    changed, taken = [], []
    caller = SimpleNamespace(take_over=taken.append)
    monkeypatch.setattr(child, "_change", lambda secrets, of: changed.append(secrets))
    rest = (caller, Answering(ends[0], None), BatchCounter(shared_memory()))
    assert child._work_off({"A": None}, *rest)
    assert child._work_off((4, 0.5), *rest)
    assert not child._work_off(child.BYE, *rest)
    assert (changed, taken) == ([{"A": None}], [Limits(4, 0.5)])


def test_frames_are_read_while_the_handler_works_until_the_agent_says_goodbye(ends):
    ours, theirs = ends
    loads = queue.SimpleQueue()
    reader = threading.Thread(target=child._read_ahead, args=(theirs, loads), daemon=True)
    reader.start()
    ours.send({"A": "1"})
    ours.send([[("1-0", {b"p": 0, b"q": b"small"})], [("2-0", {b"p": b"2"})]], [b"large"])
    ours.send(child.BYE)
    assert loads.get(timeout=PATIENCE_SECONDS) == {"A": "1"}
    first, second = loads.get(timeout=PATIENCE_SECONDS)
    assert (second[0].entry, dict(second[0].fields)) == ("2-0", {b"p": b"2"})
    assert dict(first[0].fields) == {b"p": b"large", b"q": b"small"}
    assert loads.get(timeout=PATIENCE_SECONDS) is None
    reader.join(PATIENCE_SECONDS)
    assert not reader.is_alive()


@pytest.mark.parametrize("size", [0, 4096])
def test_a_process_with_a_ring_leaves_large_results_there(ends, monkeypatch, size):
    ours, theirs = ends
    fd, begun = os.dup(theirs._socket.fileno()), shared_memory()
    memory, rings = ring.ring_memory(size), []
    words = [fd, begun, -1 if memory is None else memory, "operator:not_", ITEMS, 0]
    monkeypatch.setattr(sys, "argv", ["child", *map(str, words)])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(masking, "hide_in_output", lambda: None)
    monkeypatch.setattr(child, "_read_ahead", lambda link, loads: loads.put(child.BYE))
    monkeypatch.setattr(child, "Answering", lambda link, ring: rings.append(ring))
    ours.send({})
    child.main()
    assert ours.receive()[0] == [0, False, False, 1]
    assert [type(each) for each in rings] == [RingWriter if size else type(None)]
