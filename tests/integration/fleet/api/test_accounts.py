"""Accounts and alert channels by the API, through the verbs of the admin."""

import json
from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest

from fleet.alerts import addresses
from fleet.models import Channel, Delivery
from pods.models import Account, Orphan
from tests.support.api import ApiClient, a_client
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.webhook import Webhook

pytestmark = [pytest.mark.django_db]
SECRET = "hunter2-hunter2"


class Phone(Webhook):
    """Keeps what it got."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[bytes] = []

    def take(self, body: bytes, headers: Message) -> int:
        self.got.append(body)
        return 200


@pytest.fixture
def phone() -> Iterator[Phone]:
    made = Phone()
    with made.serving():
        yield made


@pytest.fixture
def client(redis_url: str) -> ApiClient:
    return a_client("admin", name="ann")


def test_an_account_is_added_tested_changed_and_deleted(client: ApiClient) -> None:
    wanted = {"name": "here", "provider": "local", "options": {"capacity": 2}}
    made = client.post("/accounts", wanted, idempotency_key="k")
    again = client.post("/accounts", wanted, idempotency_key="k")
    assert (made.status_code, made.content) == (201, again.content)
    body = made.json()
    assert (body["tried"]["good"], body["key"], Account.objects.count()) == (True, "none", 1)
    assert body["surveyed_at"] is not None
    path = f"/accounts/{body['id']}"
    tag = client.get(path)["ETag"]
    assert tag == made["ETag"]
    assert client.patch(path, {"enabled": False}).status_code == 428
    changed = client.patch(path, {"enabled": False}, if_match=tag)
    assert (changed.status_code, changed.json()["enabled"]) == (200, False)
    assert client.patch(path, {"enabled": True}, if_match=tag).status_code == 412
    assert Account.objects.get().options == {"capacity": 2}
    assert client.post(f"{path}/test").json()["good"] is True
    assert client.send("DELETE", path).status_code == 204
    assert client.get(path).status_code == 404


def test_a_wrong_account_is_not_written(client: ApiClient) -> None:
    for wanted in (
        {"name": "x", "provider": "nothing"},
        {"name": "x", "provider": "local", "options": {"no_such": 1}},
        {"name": "x", "provider": "local", "secret": SECRET, "secret_ref": "env:KEY"},
        {"name": "x", "provider": "local", "secret": " "},
        {"name": "x", "provider": "local", "options": {"key": "***"}},
    ):
        answer = client.post("/accounts", wanted)
        assert (answer.status_code, SECRET in answer.content.decode()) == (422, False), wanted
    assert Account.objects.count() == 0


def test_a_key_is_stored_encrypted_and_not_shown(client: ApiClient) -> None:
    wanted = {"name": "x", "provider": "local", "enabled": False, "secret": SECRET}
    made = client.post("/accounts", wanted)
    assert (made.json()["key"], SECRET in made.content.decode()) == ("stored", False)
    assert SECRET not in Account.objects.get().sealed_secret


def test_an_account_with_a_past_or_with_machines_that_bill_stays(client: ApiClient) -> None:
    used, unknown = an_account(name="used"), an_account(name="unknown")
    a_pod(a_fleet(accounts=[used]))
    now = a_pod(a_fleet(accounts=[used])).requested_at
    Orphan.objects.create(
        account=unknown, external_id="m", name="m", first_seen_at=now, last_seen_at=now
    )
    for account in (used, unknown):
        assert client.send("DELETE", f"/accounts/{account.pk}").status_code == 409
    assert Account.objects.count() == 2


def test_a_channel_is_added_tested_changed_and_deleted(
    client: ApiClient, settings: Any, phone: Phone
) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = True
    where = {"webhook_url": f"http://{phone.address}/{SECRET}"}
    wanted = {"name": "on-call", "kind": "webhook", "where": where, "min_severity": "critical"}
    made = client.post("/channels", wanted, idempotency_key="k")
    assert (made.status_code, made.json()["kind"]) == (201, "webhook")
    assert client.post("/channels", wanted, idempotency_key="k").content == made.content
    assert client.post("/channels", wanted).status_code == 422  # the name
    path = f"/channels/{made.json()['id']}"
    assert client.post(f"{path}/test").json() == {"sent": True}
    assert len(phone.got) == 1
    tag = client.get(path)["ETag"]
    changed = client.patch(path, {"min_severity": "info"}, if_match=tag)
    assert (changed.status_code, changed.json()["min_severity"]) == (200, "info")
    stale = client.patch(path, {"name": "b"}, if_match=tag)
    assert stale.status_code == 412
    assert addresses.unseal(Channel.objects.get().sealed_url).endswith(SECRET)
    shown = [client.get(p).content for p in (path, "/channels")]
    assert SECRET not in json.dumps([made.json(), changed.json()]) + str(shown)
    assert client.send("DELETE", path).status_code == 204
    assert (Channel.objects.count(), Delivery.objects.count()) == (0, 0)


def test_a_channel_that_must_not_be_reached_is_refused(client: ApiClient) -> None:
    for where in ({"webhook_url": "http://127.0.0.1/x"}, {"webhook_url": ""}, {}):
        wanted = {"name": "x", "kind": "webhook", "where": where}
        answer = client.post("/channels", wanted)
        assert (answer.status_code, next(iter(answer.json()["errors"]))[:5]) == (422, "where")
    assert Channel.objects.count() == 0


def test_an_operator_may_not_write_either(redis_url: str) -> None:
    operator = a_client("operator")
    assert operator.post("/accounts", {"name": "x", "provider": "local"}).status_code == 403
    assert operator.post("/channels", {"name": "x", "where": {}}).status_code == 403
    assert operator.get("/channels").json()["items"] == []
