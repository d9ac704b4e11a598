"""A Redis that drops packets, or takes a connection and never answers, holds up nothing for long."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest
import redis

from fleet.tick import gathering
from pods.agent_redis import heartbeats
from pods.agent_redis.heartbeats import HeartbeatsUnknown
from pods.base import redis as our_redis
from pods.models import Pod
from pods.states import READY
from tests.support.factories import a_fleet, a_pod
from tests.support.waiting import patience
from tests.support.world import World

pytestmark = pytest.mark.django_db


class SilentServer:
    """Takes connections and never answers; `asked` counts them."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening, self._open = listening, list[socket.socket]()
        self.asked = 0
        self.port = listening.getsockname()[1]

    def serve(self) -> None:
        """Take connections until the socket is closed."""
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:
                return
            self.asked += 1
            self._open.append(taken)

    def close(self) -> None:
        """Close all sockets."""
        self._listening.shutdown(socket.SHUT_RDWR)
        for one in (self._listening, *self._open):
            one.close()


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    server = SilentServer(socket.create_server(("127.0.0.1", 0)))
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.close()
    thread.join()


@contextmanager
def a_port_that_drops_packets() -> Iterator[int]:
    """A port whose queue of connections is full, so that the kernel drops every further packet."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    waiting = []
    for _ in range(8):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listening.getsockname())
        waiting.append(one)
    try:
        yield listening.getsockname()[1]
    finally:
        for one in (*waiting, listening):
            one.close()


def pods_of(world: World, port: int) -> tuple[Pod, Pod]:
    """A pod on the silent server, and one on the real server that sends heartbeats."""
    url = f"redis://127.0.0.1:{port}/0?socket_timeout=0.5&socket_connect_timeout=0.5"
    there = a_pod(a_fleet(backlog_url=url), READY, redis_url=url)
    here = a_pod(world.fleet, READY)
    world.beat(here)
    return there, here


def test_a_silent_server_is_asked_once_and_hides_only_its_own_pods(
    world: World, silent: SilentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = pods_of(world, silent.port)
    for _ in range(3):
        found = heartbeats.read([there, here], consumers=True)
        assert found.unheard == {there.pk}
        assert here.pk in found.beats
    assert silent.asked == 1
    depth, because = gathering.measure(there.fleet)
    assert depth is None
    assert "asked again in" in because
    assert silent.asked == 1
    later = monotonic() + our_redis.SILENT_SECONDS + 1
    monkeypatch.setattr(our_redis, "monotonic", lambda: later)
    with pytest.raises(HeartbeatsUnknown):
        heartbeats.read([there])
    assert silent.asked == 2


def test_a_server_that_drops_packets_takes_one_short_wait(world: World) -> None:
    with a_port_that_drops_packets() as port:
        there, here = pods_of(world, port)
        began = monotonic()
        for _ in range(5):
            assert heartbeats.read([there, here]).unheard == {there.pk}
        # One wait of half a second. With two retries in each reading they were fifteen.
        assert monotonic() - began < patience(3)


def test_a_server_that_answers_again_is_believed_at_once(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = our_redis.redis_client(f"{redis_url}?socket_timeout=0.5")
    client.ping()
    with pytest.raises(redis.TimeoutError):
        client.blpop(["nothing"], timeout=2)
    with pytest.raises(redis.ConnectionError, match="asked again in"):
        client.ping()
    later = monotonic() + our_redis.SILENT_SECONDS + 1
    monkeypatch.setattr(our_redis, "monotonic", lambda: later)
    assert client.ping()
    assert client.ping()


def test_a_broken_connection_is_made_again_without_a_pause(redis_url: str) -> None:
    client: Any = our_redis.redis_client(redis_url)
    client.ping()
    client.connection_pool.get_connection().disconnect()
    other = redis.Redis.from_url(redis_url)
    other.client_kill_filter(_type="normal", skipme=True)
    other.close()
    assert client.ping()
