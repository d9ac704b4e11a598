"""A request with a key is done once: repeated, at the same time, and when a process dies in it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import connection

from fleet import operating
from fleet.api import idempotency
from fleet.items.progress import Bookmarks
from fleet.models import Fleet, KeyedRequest, Override
from fleet.retention import prune
from pods.base.clock import utcnow
from tests.support.api import ApiClient, a_client
from tests.support.factories import a_fleet

HANDLER = "pods.agent.handlers.pace:sleep"
WANTED = {"name": "emb", "handler": HANDLER}


@pytest.fixture
def client(redis_url: str, db: Any) -> ApiClient:
    return a_client("operator", name="ann")


def length(redis_url: str) -> int:
    return redis.Redis.from_url(redis_url).xlen("texts")  # type: ignore[return-value]


def test_the_same_request_gets_the_same_answer(client: ApiClient) -> None:
    first = client.post("/fleets", WANTED, idempotency_key="k1")
    again = client.post("/fleets", WANTED, idempotency_key="k1")
    assert (again.status_code, again.content, again["ETag"]) == (201, first.content, first["ETag"])
    assert (again["Idempotency-Replayed"], Fleet.objects.count()) == ("true", 1)
    other = client.post("/fleets", {**WANTED, "name": "other"}, idempotency_key="k1")
    assert (other.status_code, Fleet.objects.count()) == (422, 1)
    assert client.post("/fleets", WANTED, idempotency_key="k2").status_code == 422  # the name


def test_a_refused_request_leaves_its_key_free(client: ApiClient) -> None:
    wrong = {**WANTED, "max_instances": 0, "min_instances": 1}
    assert client.post("/fleets", wrong, idempotency_key="k").status_code == 422
    assert client.post("/fleets", WANTED, idempotency_key="k").status_code == 201


def test_keys_are_those_of_a_user(client: ApiClient) -> None:
    other = a_client("operator", name="bob")
    assert client.post("/fleets", WANTED, idempotency_key="k").status_code == 201
    wanted = {**WANTED, "name": "b", "stream": "b"}
    assert other.post("/fleets", wanted, idempotency_key="k").status_code == 201


def test_a_key_is_forgotten_after_a_day(client: ApiClient) -> None:
    a_fleet(name="emb")
    hold = {"pods": 1, "until": (utcnow() + timedelta(days=3)).isoformat(), "because": "x"}
    client.post("/fleets/emb/holds", hold, idempotency_key="k")
    KeyedRequest.objects.update(created_at=utcnow() - timedelta(hours=25))
    client.post("/fleets/emb/holds", hold, idempotency_key="k")
    assert Override.objects.count() == 2
    KeyedRequest.objects.update(created_at=utcnow() - timedelta(hours=25))
    assert prune()["keyed_requests"] == 1


class Killed(BaseException):
    """The process dies here."""


def test_a_fleet_that_was_made_before_the_process_died_is_the_answer_to_the_second_try(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_fleet: Fleet) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(operating, "prepare", die)
        with pytest.raises(Killed):
            client.post("/fleets", WANTED, idempotency_key="k")
    assert Fleet.objects.count() == 1
    busy = client.post("/fleets", WANTED, idempotency_key="k")
    assert (busy.status_code, busy["Retry-After"]) == (409, "1")
    KeyedRequest.objects.update(claimed_until=utcnow())  # its lease ends
    again = client.post("/fleets", WANTED, idempotency_key="k")
    assert (again.status_code, again.json()["name"], Fleet.objects.count()) == (201, "emb", 1)


@pytest.mark.parametrize("batches", [1, 2])
def test_items_of_which_some_were_added_before_the_process_died_are_added_once(
    client: ApiClient, redis_url: str, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    a_fleet(name="emb", stream="texts", group="texts")
    body = b"".join(json.dumps({"payload": str(n)}).encode() + b"\n" for n in range(9000))
    add, calls = Bookmarks.add, iter(range(10))

    def die_later(self: Bookmarks, found: Any) -> None:
        if next(calls) == batches:
            raise Killed
        add(self, found)

    with monkeypatch.context() as patched:
        patched.setattr(Bookmarks, "add", die_later)
        with pytest.raises(Killed):
            client.post("/fleets/emb/items/bulk", body, idempotency_key="k")
    assert 0 < length(redis_url) < 9000
    KeyedRequest.objects.update(claimed_until=utcnow())
    again = client.post("/fleets/emb/items/bulk", body, idempotency_key="k")
    assert (again.status_code, again.json()["enqueued"]) == (201, 9000)
    assert length(redis_url) == 9000


def test_a_process_that_dies_before_the_answer_is_stored_adds_no_item_twice(
    client: ApiClient, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_fleet(name="emb", stream="texts", group="texts")

    def die(_made: Any) -> str:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(idempotency.Made, "response", die)
        patched.setattr(idempotency, "_mine", die)
        with pytest.raises(Killed):
            client.post("/fleets/emb/items", {"payload": "x"}, idempotency_key="k")
    assert length(redis_url) == 1
    KeyedRequest.objects.update(claimed_until=utcnow())
    answer = client.post("/fleets/emb/items", {"payload": "x"}, idempotency_key="k")
    assert (answer.json()["enqueued"], length(redis_url)) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_of_equal_requests_at_once_one_is_done(redis_url: str) -> None:
    client = a_client("operator", name="ann")
    a_fleet(name="emb", stream="texts", group="texts")
    start = threading.Barrier(4)

    def send(_n: int) -> int:
        start.wait()
        try:
            mine = ApiClient(client.secret)
            answer = mine.post("/fleets/emb/items", {"payload": "x"}, idempotency_key="k")
            return int(answer.status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(send, range(4)))
    assert set(found) <= {201, 409}
    assert 201 in found
    assert length(redis_url) == 1


@pytest.mark.django_db(transaction=True)
def test_of_edits_of_the_same_version_at_once_one_is_written(redis_url: str) -> None:
    client = a_client("operator", name="ann")
    a_fleet(name="emb")
    tag = client.get("/fleets/emb")["ETag"]
    start = threading.Barrier(4)

    def edit(n: int) -> int:
        start.wait()
        try:
            mine = ApiClient(client.secret)
            answer = mine.patch("/fleets/emb", {"max_instances": 10 + n}, if_match=tag)
            return int(answer.status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(edit, range(4)))
    assert sorted(found) == [200, 412, 412, 412]
    assert Fleet.objects.get().max_instances == 10 + found.index(200)
