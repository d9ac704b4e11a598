"""How the handler's process begins, and gets other secrets, with a process that a test plays."""

import os
import socket
import subprocess
from types import SimpleNamespace

import pytest

from pods.agent.forming import Limits
from pods.agent.handler_process import HandlerBroken
from pods.agent.link import Link
from pods.agent.protocol import DATASET, ITEMS
from pods.agent.secrets import Held
from pods.agent.shares import Doing
from tests.support.rigs.played_process import LOADED, Child, Played, batch

ONE = batch(1)


@pytest.fixture
def make():
    made = []

    def played(**options):
        made.append(Played(**options))
        return made[-1]

    yield played
    for each in made:
        each.close_links()


# Other secrets.


def outdated(process, *values, version="2"):
    process._outdated, process._ready = True, False
    process._given, process.held = Held("1", values[0]), Held(version, values[-1])
    return process


def test_secrets_are_given_when_nothing_is_inside_and_batches_wait_meanwhile(make):
    process = outdated(make().runs(ONE), {"A": "1", "B": "2"}, {"A": "3"})
    process._hears_of_secrets = True
    assert not process._renewed()  # it works
    process._inside.clear()
    assert process._renewed()
    assert process.peer.receive() == ({"A": "3", "B": None}, [])
    assert (process._given.version, process._ready) == ("2", True)
    assert not process._renewed()  # they have not changed


def test_the_same_secrets_change_nothing(make):
    process = outdated(make().runs(), {"A": "1"}, version="1")
    assert process._renewed()
    assert (process.peer.has_something(0), process._ready) == (False, True)


def test_a_process_that_is_closed_or_was_not_started_gets_no_secrets(make):
    process = outdated(make().runs(), {"A": "1"}, {"A": "2"})
    process._closed = True
    assert not process._renewed()
    assert not outdated(make(), {"A": "1"}, {"A": "2"})._renewed()


def test_a_handler_that_does_not_hear_of_them_begins_anew(make, monkeypatch):
    process = outdated(make().runs(), {"A": "1"}, {"A": "2"})
    again = []
    monkeypatch.setattr(process, "_start_again", lambda: again.append(process.did[:]))
    assert process._renewed()
    assert again == [[Doing.STARTING]]
    assert process.peer.receive()[0] is None  # it may tear down
    assert process._child.killed


@pytest.mark.parametrize(
    ("kind", "hears", "changed", "goes_on"),
    [
        (ITEMS, True, "HF_TOKEN", True),
        (ITEMS, False, "AWS_KEY", False),
        (DATASET, False, "AWS_KEY", True),  # the agent itself reads and writes the stores
        (DATASET, False, "HF_TOKEN", False),
    ],
)
def test_a_process_goes_on_where_its_handler_hears_or_needs_nothing(
    make, kind, hears, changed, goes_on
):
    process = outdated(make(kind=kind), {"B": "1", changed: "1"}, {"B": "1", changed: "2"})
    process._hears_of_secrets = hears
    assert process._goes_on_with(process.held) is goes_on


# The thread.


def test_the_thread_gives_secrets_before_it_hears_and_ends_with_the_process(make, monkeypatch):
    process = make().runs()
    did, renewed = [], [True, False]

    def hear():
        did.append("hear")
        process._closed = True
        raise EOFError

    monkeypatch.setattr(process, "_renewed", lambda: did.append("renew") or renewed.pop(0))
    monkeypatch.setattr(process, "_hear", hear)
    monkeypatch.setattr(process, "_recover", lambda exc: did.append("recover"))
    process._run()
    assert did == ["renew", "renew", "hear"]
    process._run()
    assert len(did) == 3


@pytest.mark.parametrize(
    ("closed", "outdated", "ready"),
    [(False, False, True), (True, False, False), (False, True, False)],
)
def test_batches_go_to_a_process_that_is_open_and_has_the_present_secrets(
    make, closed, outdated, ready
):
    process = make().runs()
    process._closed, process._outdated = closed, outdated
    with process._changed:
        process._is_ready()
    assert process._ready is ready


# The beginning.


@pytest.fixture
def begins(make, monkeypatch):
    """A process that says this when it has loaded; and what its command was."""

    def begin(first, *, closed=False, **options):
        process, child, started = make(**options), Child(), SimpleNamespace(fds={}, command=())
        process._closed, started.child = closed, child

        def popen(command, stdin, pass_fds):
            started.command, started.fds = command, {n: os.fstat(n).st_ino for n in pass_fds}
            started.link = Link(socket.socket(fileno=os.dup(int(command[3]))))
            if first is None:
                child.status = 1
                started.link.close()
            else:
                started.link.send(first)
            return child

        monkeypatch.setattr(subprocess, "Popen", popen)
        return process, started

    return begin


def still_open(files):
    """Those of these files that are open under the same number."""

    def inode(number):
        try:
            return os.fstat(number).st_ino
        except OSError:
            return None

    return [number for number, before in files.items() if inode(number) == before]


def test_a_process_that_has_loaded_gets_secrets_limits_and_then_batches(begins):
    process, started = begins(LOADED, limits=lambda: Limits(4, 0.5))
    process.held = Held("1", {"A": "secret"})
    assert process._start() == 8
    assert started.link.receive() == ({"A": "secret"}, [])
    assert started.link.receive() == ((4, 0.5), [])
    assert (process.takes_columns, process._hears_of_secrets, process.calls_ahead) == (
        True,
        True,
        3,
    )
    assert (process._ready, process.did, process._ring) == (True, [Doing.WAITING], None)
    assert started.command[-4:] == ["-1", "m:f", ITEMS, "0"]
    assert len(started.fds) == 2
    assert still_open(started.fds) == []
    process._link.close()
    started.link.close()


def test_a_process_with_a_ring_shares_its_memory(begins):
    process, started = begins(LOADED, ring_bytes=4096)
    process._start()
    assert (len(started.fds), process._ring is None) == (3, False)
    process._link.close()
    started.link.close()


def test_a_handler_that_cannot_be_loaded_says_why(begins):
    process, started = begins(("ImportError: x", "trace"))
    assert process._try_to_start() == "m:f cannot be loaded: ImportError: x"
    assert not process._ready
    started.link.close()


def test_a_process_that_ends_while_it_loads_is_reported_with_its_status(begins):
    process, _ = begins(None)
    with pytest.raises(HandlerBroken, match="ended its process while loading: exit status 1"):
        process._start()


def test_a_process_that_begins_after_the_end_is_killed(begins):
    process, started = begins(LOADED, closed=True)
    process._start()
    assert (started.child.killed, process._ready) == (1, False)
    process._link.close()
    started.link.close()
