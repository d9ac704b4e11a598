"""Over a slow link an agent asks for what its handler takes in a few round trips, in several reads."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest
from redis import ConnectionError as Unreachable
from redis import Redis

from config.env import ROOT
from tests.support.rigs.agent_rig import Agents, Backlog
from tests.support.waiting import patience, until

RTT_MS = 250
ITEMS = 40_000
# Several calls' worth, and what a handler of 2,400 items/s takes in five round trips: one for the read,
# three in reserve and one for the commit.
IN_FLIGHT = 3_000


@pytest.fixture
def far(backlog: Backlog) -> Iterator[Backlog]:
    """The backlog as an agent far away sees it."""
    parts = urlsplit(backlog.url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "benchmarks" / "delay.py"), str(RTT_MS), str(port)]
    proxy = subprocess.Popen([*command, str(parts.port)])
    url = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))
    until(lambda: answers(url))
    yield Backlog(url, group=False)
    proxy.kill()
    proxy.wait()


def answers(url: str) -> bool:
    try:
        return bool(Redis.from_url(url, protocol=2).ping())
    except Unreachable:
        return False


@pytest.mark.takes(9)
def test_a_far_agent_holds_what_a_quick_handler_takes_and_leaves_nothing_behind(
    backlog: Backlog, far: Backlog, agents: Agents
) -> None:
    backlog.put_numbered(ITEMS)
    agent = agents.start(far, "pod-a", drain_seconds=120, notice_seconds=60)
    until(lambda: backlog.pending_of("pod-a") > IN_FLIGHT)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=patience(60)) == 0
    assert "pod-a" not in backlog.consumers()  # also of the reads that were under way
    lag = backlog.client.xinfo_groups(backlog.stream)[0]["lag"]
    assert len(backlog.results()) == sum(backlog.times_published().values())
    assert len(backlog.results()) + lag + backlog.pending() == ITEMS
