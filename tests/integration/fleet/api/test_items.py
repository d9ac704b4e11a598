"""Items by the API: one, many, and those that failed for the last time."""

import io
import json
from typing import Any

import pytest
import redis
from django.test import RequestFactory

from config.wsgi import application
from fleet.models import Fleet
from tests.support.api import ROOT, ApiClient, a_client, one_connection
from tests.support.factories import a_fleet

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def client(redis_url: str) -> ApiClient:
    return a_client("operator", name="ann")


@pytest.fixture
def fleet() -> Fleet:
    return a_fleet(name="emb", stream="texts", group="texts")


def entries(redis_url: str, stream: str = "texts") -> list[dict[str, str]]:
    client = redis.Redis.from_url(redis_url, protocol=2, decode_responses=True)
    return [fields for _, fields in client.xrange(stream)]  # type: ignore[union-attr,misc]


def lines(count: int) -> bytes:
    return b"".join(
        json.dumps({"payload": f"text {n}", "id": str(n)}).encode() + b"\n" for n in range(count)
    )


def test_one_item_is_put_onto_the_stream(client: ApiClient, fleet: Fleet, redis_url: str) -> None:
    answer = client.post("/fleets/emb/items", {"payload": {"text": "héllo"}, "id": "a"})
    assert (answer.status_code, answer.json()["enqueued"]) == (201, 1)
    (item,) = entries(redis_url)
    assert (item["id"], json.loads(item["payload"])) == ("a", {"text": "héllo"})
    assert client.post("/fleets/emb/items", {"payload": None}).status_code == 422


def test_many_items_are_put_onto_the_stream_or_none(
    client: ApiClient, fleet: Fleet, redis_url: str
) -> None:
    wrong = client.post("/fleets/emb/items/bulk", lines(1200) + b"{no\n")
    assert (wrong.status_code, entries(redis_url)) == (422, [])
    assert "line 1201: not JSON" in wrong.json()["detail"]
    right = client.post("/fleets/emb/items/bulk?skip_bad=true", lines(1200) + b"{no\n")
    assert (right.json()["enqueued"], right.json()["skipped"]) == (1200, 1)
    assert right.json()["bad"][0].startswith("line 1201: not JSON")
    assert [item["id"] for item in entries(redis_url)] == [str(n) for n in range(1200)]


def test_the_server_keeps_nothing_of_a_body(
    client: ApiClient, fleet: Fleet, redis_url: str, settings: Any
) -> None:
    for key in ("", "k"):
        client.post("/fleets/emb/items/bulk", lines(3), idempotency_key=key)
    kept = redis.Redis.from_url(redis_url).hgetall("podfleet:_enqueued:texts")
    assert set(kept) == {b"items"}  # type: ignore[arg-type]
    assert list((settings.VAR_DIR / "requests").iterdir()) == []


def test_a_body_that_is_too_large_is_refused(
    client: ApiClient, fleet: Fleet, redis_url: str, settings: Any
) -> None:
    settings.API_LARGEST_BODY = 100
    answer = client.post("/fleets/emb/items/bulk", lines(50))
    assert (answer.status_code, entries(redis_url)) == (413, [])
    too_large = client.post("/fleets/emb/items", {"payload": "x" * 3_000_000})
    assert (too_large.status_code, too_large["Content-Type"]) == (413, "application/problem+json")


def test_a_body_that_ends_early_adds_nothing_and_keeps_its_key(
    client: ApiClient, fleet: Fleet, redis_url: str
) -> None:
    body = lines(50)
    headers = {"HTTP_AUTHORIZATION": f"Bearer {client.secret}", "HTTP_IDEMPOTENCY_KEY": "k"}
    request = RequestFactory().post(f"{ROOT}/fleets/emb/items/bulk", b"", "x/x", **headers)
    cut = request.environ | {
        "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body[: len(body) // 2])
    }  # fmt: skip
    said: list[str] = []
    with one_connection():
        list(application(cut, lambda status, _headers: said.append(status)))
    assert (said, entries(redis_url)) == (["400 Bad Request"], [])
    whole = client.post("/fleets/emb/items/bulk", body, idempotency_key="k")
    assert (whole.status_code, len(entries(redis_url))) == (201, 50)


def test_failed_items_are_listed_grouped_put_back_and_deleted(
    client: ApiClient, fleet: Fleet, redis_url: str
) -> None:
    server = redis.Redis.from_url(redis_url, protocol=2, decode_responses=True)
    for n in range(3):
        server.xadd("texts:dead", {"id": str(n), "payload": "p", "_error": f"KeyError: {n}"})
    page = client.get("/fleets/emb/dead?limit=2").json()
    assert (page["count"], [letter["id"] for letter in page["items"]]) == (3, ["0", "1"])
    rest = client.get(f"/fleets/emb/dead?limit=2&cursor={page['next']}").json()
    assert ([letter["id"] for letter in rest["items"]], rest["next"]) == (["2"], None)
    assert client.get("/fleets/emb/dead/reasons").json()["groups"][0]["count"] == 3
    first = page["items"][0]["letter"]
    done = client.post("/fleets/emb/dead/retry", {"letters": [first, "1-1"]}).json()
    assert done == {"count": 1, "missing": ["1-1"], "left": 2}
    assert [item["id"] for item in entries(redis_url)] == ["0"]
    assert client.post("/fleets/emb/dead/drop", {}).status_code == 422
    too_long = {"letters": [f"{10**19}-0"]}
    assert client.post("/fleets/emb/dead/retry", too_long).status_code == 422
    assert client.post("/fleets/emb/dead/drop", {"all": True}).json()["left"] == 0


def test_the_newest_results_come_first_page_by_page(
    client: ApiClient, fleet: Fleet, redis_url: str
) -> None:
    server = redis.Redis.from_url(redis_url, protocol=2, decode_responses=True)
    for n in range(40):
        server.xadd("texts:results", {"id": str(n), "result": json.dumps({"n": n}), "pod": "p"})
    seen, cursor = [], ""
    while True:
        page = client.get(f"/fleets/emb/results?limit=15&cursor={cursor}").json()
        seen += [row["result"]["n"] for row in page["items"]]
        server.xadd("texts:results", {"id": "later", "result": '{"n": -1}'})
        if not (cursor := page["next"]):
            break
    assert seen == list(range(39, -1, -1))


def test_a_fleet_that_takes_no_items_says_why(client: ApiClient) -> None:
    a_fleet(name="tasks", backlog="celery_redis", stream="q", handler="app:app")
    answer = client.post("/fleets/tasks/items", {"payload": "x"})
    assert answer.status_code == 422
    assert "only your Celery app can add to it" in answer.json()["detail"]
    assert client.get("/fleets/tasks/results").status_code == 409
