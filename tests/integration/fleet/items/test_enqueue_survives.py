"""`enqueue` survives kill -9, lost answers and a second `enqueue` at the same time."""

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from fleet.items.feeding import enqueue
from pods.base.redis import redis_client
from tests.support.items import (
    GROUP,
    STREAM,
    Start,
    ids,
    numbered,
    one_was_refused_at_most,
    text_file,
)
from tests.support.waiting import until


@pytest.mark.fault(64)
def test_a_kill_at_any_point_neither_loses_nor_repeats_an_item(
    client: redis.Redis, redis_url: str, tmp_path: Path, start: Start
) -> None:
    lines, kills = 100_000, 5
    paths = [text_file(tmp_path, 1_000, "first.txt"), text_file(tmp_path, lines)]
    for _ in range(kills):
        before = client.xlen(STREAM)
        process = start("enqueue", redis_url, STREAM, GROUP, *paths)
        until(lambda then=before: client.xlen(STREAM) > then)  # type: ignore[misc]
        process.kill()
        assert process.wait() == -9
    assert client.xlen(STREAM) < lines + 1_000
    enqueue(client, STREAM, GROUP, paths)
    assert ids(client) == [*numbered("first.txt", 1, 1_000), *numbered("a.txt", 1, lines)]


@pytest.mark.fault(64)
def test_after_a_kill_before_the_first_batch_every_item_is_added_once(
    client: redis.Redis, redis_url: str, tmp_path: Path, start: Start
) -> None:
    path = text_file(tmp_path, 1_000)
    process = start("enqueue", redis_url, STREAM, GROUP, path)
    until(lambda: client.exists(STREAM))
    process.kill()
    process.wait()
    enqueue(client, STREAM, GROUP, [path])
    assert ids(client) == numbered("a.txt", 1, 1_000)


def test_two_calls_with_the_same_file_add_each_item_once(
    client: redis.Redis, redis_url: str, tmp_path: Path, start: Start
) -> None:
    path = text_file(tmp_path, 100_000)
    both = [start("enqueue", redis_url, STREAM, GROUP, path) for _ in range(2)]
    assert one_was_refused_at_most(both)
    assert ids(client) == numbered("a.txt", 1, 100_000)


# Parts of the two scripts that write: one takes files over, one adds items.
SCRIPTS = (b"for i = 1, #ARGV, 3", b"XADD")


class LossyLink(socketserver.ThreadingTCPServer):
    """A proxy between a client and the server that loses the answers of some scripts."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Link)
        self.target = target
        self.connections = self.lost = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answers_of_next_connection(self) -> int:
        """How many answers pass before the connection breaks: none and 12, in turns."""
        self.connections += 1
        return 0 if self.connections % 2 else 12


class Link(socketserver.BaseRequestHandler):
    """One connection through the proxy."""

    server: LossyLink

    def handle(self) -> None:
        left, items_sent = self.server.answers_of_next_connection(), False
        with socket.create_connection(self.server.target) as upstream:
            while True:
                for ready in select.select([self.request, upstream], [], [])[0]:
                    if not (data := ready.recv(65_536)):
                        return
                    if ready is self.request:
                        items_sent = items_sent or any(part in data for part in SCRIPTS)
                        upstream.sendall(data)
                    elif items_sent and not left:
                        self.server.lost += 1
                        return  # the server ran the script or a part of it; the client gets no answer
                    else:
                        left -= items_sent
                        self.request.sendall(data)


@pytest.fixture
def link(redis_url: str) -> Iterator[LossyLink]:
    parts = urlsplit(redis_url)
    with LossyLink((parts.hostname or "127.0.0.1", parts.port or 6379)) as server:
        yield server
        server.shutdown()


@pytest.mark.fault(64)
def test_a_lost_answer_neither_loses_nor_repeats_an_item(
    client: redis.Redis, redis_url: str, tmp_path: Path, link: LossyLink
) -> None:
    path = text_file(tmp_path, 20_000)
    here = f":{link.server_address[1]}"
    through = redis_client(redis_url.replace(f":{urlsplit(redis_url).port}", here))
    fed = enqueue(through, STREAM, GROUP, [path])
    assert link.lost >= 3
    assert fed.added == 20_000
    assert ids(client) == numbered("a.txt", 1, 20_000)
    through.close()


@pytest.mark.fault(58)
def test_more_items_of_50_mb_need_no_more_memory(
    redis_url: str, tmp_path: Path, start: Start
) -> None:
    size = 50_000_000
    used = []
    for count in (2, 4):
        path = tmp_path / f"{count}.txt"
        with path.open("wb") as file:
            for n in range(count):
                file.write(bytes([65 + n]) * size + b"\n")
        process = start("enqueue", redis_url, STREAM, GROUP, path, "--tell-peak")
        assert process.stderr is not None
        used.append(int(process.stderr.read()))
        path.unlink()
    assert used[1] < used[0] + size
