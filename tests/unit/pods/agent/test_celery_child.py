"""What a Celery worker and its agent say to each other."""

import json
import os
import signal
import socket
import threading
from types import SimpleNamespace

import pytest

from pods.agent import celery_child


class Ended(Exception):
    """The process has ended."""


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_worker_takes_its_secrets_or_ends_with_its_agent(ends, monkeypatch):
    def leave(status):
        raise Ended

    ours, theirs = ends
    monkeypatch.setenv("OF_THE_FLEET", "before")
    monkeypatch.setattr(os, "_exit", leave)
    celery_child.send_secrets(ours, {"OF_THE_FLEET": "secret"})
    celery_child._take_secrets(theirs)
    assert os.environ["OF_THE_FLEET"] == "secret"
    ours.sendall(b"half")
    ours.close()
    with pytest.raises(Ended):
        celery_child._take_secrets(theirs)


def test_a_worker_reports_until_its_agent_is_gone_and_then_ends(ends, monkeypatch):
    ours, theirs = ends
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(number))
    state = SimpleNamespace(all_total_count=[5], active_requests=[1], reserved_requests=[1, 2])
    ours.sendall(b".")  # the agent is there
    ours.shutdown(socket.SHUT_WR)
    celery_child._tell(theirs, state, threading.Event())
    assert killed == [signal.SIGQUIT]
    theirs.close()
    with ours.makefile("rb") as lines:
        said = [json.loads(line) for line in lines]
    assert said == [{"ready": False, "done": 4, "in_hand": 2, "active": 1}] * 2
