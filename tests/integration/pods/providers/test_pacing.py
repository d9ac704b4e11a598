"""One pace for all workers of an account, on a real Valkey."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pods.base.redis import redis_client
from pods.emulators.base import Reply, Request, Server
from pods.providers.base import Rate
from pods.providers.clients import CLIENTS
from pods.providers.errors import RateLimited
from pods.providers.http import VendorHttp
from pods.providers.pacing import Pacer

SLOW = {"*": Rate(every=timedelta(seconds=10), burst=3)}


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return redis_client(redis_url)


def waits_of(client: "redis.Redis", **options: object) -> tuple[Pacer, list[float]]:
    """A pacer that records its waits instead of sleeping."""
    waits: list[float] = []
    return Pacer(client, "a", sleep=waits.append, **{"rates": SLOW, **options}), waits  # type: ignore[arg-type]


def test_a_burst_is_sent_at_once_and_the_next_call_learns_when_its_turn_is(
    client: "redis.Redis",
) -> None:
    pacer, waits = waits_of(client)
    for _ in range(3):
        pacer.take("list")
    with pytest.raises(RateLimited) as caught:
        pacer.take("list")
    assert waits == []
    assert caught.value.retry_after == pytest.approx(10, abs=1)


def test_a_near_turn_is_waited_for_and_each_caller_gets_its_own(client: "redis.Redis") -> None:
    pacer, waits = waits_of(client, longest_wait=25.0)
    for _ in range(5):
        pacer.take("list")
    assert waits == [pytest.approx(10, abs=1), pytest.approx(20, abs=1)]
    with pytest.raises(RateLimited):
        pacer.take("list")


def test_a_refused_call_uses_up_no_turn(client: "redis.Redis") -> None:
    pacer, _ = waits_of(client)
    for _ in range(3):
        pacer.take("list")
    told = []
    for _ in range(5):
        with pytest.raises(RateLimited) as caught:
            pacer.take("list")
        told.append(caught.value.retry_after or 0)
    assert max(told) - min(told) < 2


def test_an_endpoint_with_a_limit_of_its_own_counts_for_the_account_too(
    client: "redis.Redis",
) -> None:
    rates = {
        "*": Rate(every=timedelta(seconds=10), burst=2),
        "create": Rate(every=timedelta(hours=1)),
    }
    pacer, _ = waits_of(client, rates=rates)
    pacer.take("create")
    with pytest.raises(RateLimited, match="create"):
        pacer.take("create")
    pacer.take("list")
    with pytest.raises(RateLimited, match="list"):
        pacer.take("list")


def test_accounts_do_not_share_a_pace(client: "redis.Redis") -> None:
    one, two = Pacer(client, "a", SLOW), Pacer(client, "b", SLOW)
    for pacer in (one, one, one, two, two, two):
        pacer.take("list")


def test_without_a_limit_nothing_waits(client: "redis.Redis") -> None:
    pacer, waits = waits_of(client, rates={})
    for _ in range(100):
        pacer.take("list")
    assert waits == []


def test_a_limit_that_an_account_no_longer_has_holds_nobody(client: "redis.Redis") -> None:
    limited, _ = waits_of(client)
    for _ in range(3):
        limited.take("list")
    free, waits = waits_of(client, rates={})
    free.take("list")
    assert waits == []


def test_many_workers_together_keep_the_pace(redis_url: str) -> None:
    rates = {"*": Rate(every=timedelta(milliseconds=50), burst=5)}
    at: list[float] = []

    def work() -> None:
        pacer = Pacer(redis_client(redis_url), "a", rates, longest_wait=30.0)
        for _ in range(10):
            pacer.take("list")
            at.append(time.monotonic())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    at.sort()
    assert len(at) == 40
    assert at[-1] - at[0] >= 35 * 0.05 - 0.1
    # A call may be sent late, so a window can have a few more than its share, but never twice as many.
    assert max(sum(1 for b in at if a <= b < a + 0.5) for a in at) <= 5 + 10 + 3


@pytest.mark.fault(50)
def test_when_the_vendor_asks_for_silence_every_worker_is_silent(client: "redis.Redis") -> None:
    one, _ = waits_of(client, rates={})
    two, _ = waits_of(client, rates={})
    one.silence("list", 30)
    with pytest.raises(RateLimited) as caught:
        two.take("destroy")
    assert caught.value.retry_after == pytest.approx(30, abs=1)


@pytest.mark.fault(50)
def test_silence_on_an_endpoint_with_its_own_limit_leaves_the_others_alone(
    client: "redis.Redis",
) -> None:
    pacer, _ = waits_of(client, rates={"search": Rate(every=timedelta(seconds=1))})
    pacer.silence("search", 40_000)
    pacer.take("destroy")
    with pytest.raises(RateLimited) as caught:
        pacer.take("search")
    assert caught.value.retry_after == pytest.approx(3600, abs=2)


@pytest.mark.fault(45)
def test_without_redis_no_call_waits() -> None:
    dead = redis.Redis(port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))
    pacer = Pacer(dead, "a", SLOW)
    for _ in range(5):
        pacer.take("destroy")
    pacer.silence("destroy", 30)


class Vendor:
    """Answers twice with a rate limit, then normally. It names a time at the second one only."""

    name = "vendor"

    def __init__(self) -> None:
        limited = [Reply(status=429), Reply(status=429, headers={"Retry-After": "30"})]
        self.replies = iter([*limited, Reply(json={})])

    def answer(self, request: Request) -> Reply:
        return next(self.replies)

    def tick(self) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(Vendor()) as server:
        yield server
        CLIENTS.close()


@pytest.mark.fault(50)
def test_after_a_429_that_names_a_time_the_next_call_is_not_sent(
    client: "redis.Redis", server: Server
) -> None:
    pacer, _ = waits_of(client, rates={})
    paced = VendorHttp(base_url=server.url, pacer=pacer)
    for _ in range(2):
        with pytest.raises(RateLimited, match="GET /: rate limited"):
            paced.call("GET", "/", endpoint="list")
    with pytest.raises(RateLimited, match="turn of list"):
        paced.call("GET", "/", endpoint="list")
    with pytest.raises(RateLimited, match="turn of a call"):
        paced.call("GET", "/")
    assert server.calls() == 2
    # Without a pacer nobody counts the calls.
    assert VendorHttp(base_url=server.url).call("GET", "/", endpoint="list").ok
