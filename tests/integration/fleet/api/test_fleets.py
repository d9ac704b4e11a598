"""Fleets by the API: the same verbs and checks as the admin and the command line."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fleet import operating
from fleet.models import Fleet, Override, Tick
from fleet.tick import ticking
from pods.base.clock import utcnow
from pods.states import READY, TERMINATED
from tests.support.api import ApiClient, a_client
from tests.support.factories import OFFER, a_fleet, a_pod, an_account
from tests.support.fleet_command import run

pytestmark = pytest.mark.django_db
HANDLER = "pods.agent.handlers.pace:sleep"


@pytest.fixture
def client(redis_url: str) -> ApiClient:
    return a_client("operator", name="ann")


def ready() -> Fleet:
    """A fleet whose next tick starts a pod."""
    fleet = a_fleet(name="emb", min_instances=1, accounts=[an_account(offers=[OFFER])])
    operating.make_group(fleet)
    return fleet


def test_a_fleet_is_made_read_edited_paused_and_archived(client: ApiClient) -> None:
    made = client.post(
        "/fleets", {"name": "emb", "handler": HANDLER, "max_hourly_usd": "1.5", "tick_seconds": 20}
    )
    assert made.status_code == 201, made.content
    body = made.json()
    assert (body["accounts"], body["tick_seconds"], body["max_hourly_usd"]) == (
        ["local"], 20.0, "1.5",
    )  # fmt: skip
    assert body["status"]["health"]
    read = client.get("/fleets/emb")
    assert read["ETag"] == made["ETag"]
    assert read["Cache-Control"] == "no-store"

    edited = client.patch("/fleets/emb", {"max_instances": 3}, if_match=read["ETag"])
    assert (edited.status_code, edited.json()["max_instances"]) == (200, 3)
    assert edited["ETag"] != read["ETag"]
    for verb, mode in (("pause", "paused"), ("stop", "stop_all"), ("resume", "running")):
        assert client.post(f"/fleets/emb/{verb}").json()["mode"] == mode
    archived = client.post("/fleets/emb/archive", {"rename_to": "old"})
    assert archived.json()["status"]["archived_at"] is not None
    assert client.get("/fleets").json()["items"] == []
    assert [f["name"] for f in client.get("/fleets?archived=true").json()["items"]] == ["old"]
    restored = client.post("/fleets/old/restore", {"rename_to": "emb"}).json()
    assert (restored["name"], restored["mode"]) == ("emb", "paused")
    reasons = Fleet.objects.get().history.order_by("history_id")
    assert [h.history_change_reason for h in reasons][:2] == [
        "created by ann (API)",
        "set Max pods by ann (API)",
    ]
    assert {h.history_user.username for h in reasons} == {"ann"}


def test_the_status_is_that_of_the_command_line(client: ApiClient) -> None:
    fleet = a_fleet(name="emb")
    a_pod(fleet, READY)
    ticking.tick_fleet(fleet.pk)
    shown = json.loads(run("show", "emb", "--json"))
    status = client.get("/fleets/emb").json()["status"]
    assert status.keys() == shown.keys()
    still = {"name", "health", "mode", "states", "max_instances", "last_decision"}
    assert Decimal(status["hourly_usd"]) == Decimal(shown["hourly_usd"])
    assert {name: status[name] for name in still} == {name: shown[name] for name in still}


def test_an_edit_needs_what_was_read_and_is_refused_when_that_is_stale(client: ApiClient) -> None:
    a_fleet(name="emb")
    assert client.patch("/fleets/emb", {"max_instances": 3}).status_code == 428
    first = client.get("/fleets/emb")["ETag"]
    weak = f"W/{first}"  # as a proxy that compresses passes it on
    assert client.patch("/fleets/emb", {"max_instances": 3}, if_match=weak).status_code == 200
    stale = client.patch("/fleets/emb", {"max_instances": 9}, if_match=first)
    assert stale.status_code == 412
    assert "read it again" in stale.json()["detail"]
    assert Fleet.objects.get().max_instances == 3
    assert client.patch("/fleets/emb", {"max_instances": 4}, if_match="*").status_code == 200


def test_what_the_software_writes_makes_no_edit_stale(client: ApiClient) -> None:
    fleet = ready()
    tag = client.get("/fleets/emb")["ETag"]
    ticking.tick_fleet(fleet.pk)
    assert Tick.objects.get().spawned == 1
    assert client.patch("/fleets/emb", {"max_instances": 3}, if_match=tag).status_code == 200


def test_a_wrong_value_is_named_by_its_field(client: ApiClient) -> None:
    answer = client.post("/fleets", {"name": "emb", "handler": "no", "max_instances": "3", "a": 1})
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    assert answer.json()["errors"].keys() == {"max_instances", "a"}
    answer = client.post("/fleets", {"name": "emb", "handler": "no", "min_instances": 3})
    assert answer.json()["errors"].keys() == {"handler", "max_instances"}
    assert "package.module:function" in answer.json()["detail"]
    assert not Fleet.objects.exists()


def test_passwords_are_masked_and_the_mask_cannot_be_sent_back(client: ApiClient) -> None:
    url = "redis://ann:hunter22@127.0.0.1:1/0"
    a_fleet(name="emb", backlog_url=url, handler_env={"LEVEL": "hunter22"})
    read = client.get("/fleets/emb")
    assert b"hunter22" not in read.content
    body = read.json()
    changes = {name: body[name] for name in ("backlog_url", "handler_env")}
    answer = client.patch("/fleets/emb", changes, if_match=read["ETag"])
    assert (answer.status_code, answer.json()["errors"].keys()) == (422, changes.keys())
    assert Fleet.objects.get().backlog_url == url


def test_pages_of_fleets_lose_and_repeat_none_when_others_come(client: ApiClient) -> None:
    for n in range(5):
        a_fleet(name=f"f{n}")
    seen: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"/fleets?limit=2&cursor={cursor}").json()
        seen += [fleet["name"] for fleet in page["items"]]
        a_fleet(name=f"later-{len(seen)}") if len(seen) < 4 else None
        if not (cursor := page["next"]):
            break
    assert seen == ["f0", "f1", "f2", "f3", "f4", "later-2"]
    assert client.get("/fleets?cursor=nonsense").json()["errors"].keys() == {"cursor"}


@pytest.mark.parametrize(
    "path", ["/fleets", "/pods", "/decisions", "/alerts", "/holds", "/accounts"]
)
def test_a_list_takes_the_same_number_of_queries_however_long_it_is(
    client: ApiClient, path: str
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.get(path).status_code == 200
        return len(seen)

    def one_more(n: int) -> None:
        fleet = a_fleet(name=f"f{n}")
        a_pod(fleet, READY)
        a_pod(fleet, TERMINATED)
        ticking.tick_fleet(fleet.pk)
        Override.objects.create(fleet=fleet, pods=1, until=utcnow() + timedelta(hours=1), by="x")

    client.get(path)  # writes when the token was used
    one_more(0)
    few = queries()
    for n in range(1, 4):
        one_more(n)
    assert queries() == few <= 15


def test_a_fleet_is_deleted_by_an_admin_when_no_total_needs_it(redis_url: str) -> None:
    client = a_client("admin")
    a_fleet(name="emb")
    assert client.send("DELETE", "/fleets/emb").status_code == 409
    client.post("/fleets/emb/archive", {})
    assert client.send("DELETE", "/fleets/emb").status_code == 204
    assert client.get("/fleets/emb").status_code == 404


def test_the_next_tick_is_said_and_changes_nothing(client: ApiClient) -> None:
    ready()
    answer = client.get("/fleets/emb/next").json()
    assert answer["target"] == 1
    assert [step["rule"] for step in answer["steps"]]
    assert not Tick.objects.exists()
