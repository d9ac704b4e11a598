"""A fleet that may rent pods which cannot reach its Redis is refused where that is set."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from fleet import operating, reaching
from fleet.models import Fleet
from pods.accounts import editing
from pods.models import Account
from tests.support.factories import NOBODY, a_fleet, an_account
from tests.support.fleet_command import run

pytestmark = pytest.mark.django_db
PUBLIC = "rediss://redis.example.com:6380/0"
PRIVATE = "rediss://10.0.0.5:6380/0"


@pytest.fixture
def vendor() -> Account:
    """An account of a vendor on the internet."""
    return an_account("runpod", name="rp", options={})


def checked(accounts: list[Account], **values: Any) -> None:
    fleet = Fleet(name="emb", handler="a:b", image="agent:1", **values)
    operating.check(fleet, accounts)


def test_the_refusal_names_the_account_the_address_and_the_ways_out(vendor: Account) -> None:
    with pytest.raises(ValidationError) as refused:
        checked([vendor], backlog_url="rediss://u:hunter2@10.0.0.5:6380/0")
    [text] = refused.value.message_dict["backlog_url"]
    assert text.startswith(
        "pods rented from rp cannot use rediss://10.0.0.5:6380, which is an address inside a private"
    )
    assert "public Redis" in text
    assert "managed Redis with TLS" in text
    assert "tunnel" in text
    assert "hunter2" not in text


def test_the_redis_of_the_installation_counts_where_the_fleet_has_none(
    vendor: Account, settings: Any
) -> None:
    with pytest.raises(ValidationError, match=r"the Redis of this installation, redis://127\.0"):
        checked([vendor])
    settings.PODS_REDIS_URL = PUBLIC
    checked([vendor])


def test_workers_of_celery_send_heartbeats_to_the_redis_of_the_installation(
    vendor: Account,
) -> None:
    queue = {"backlog": "celery_redis", "stream": "q", "backlog_url": PUBLIC}
    with pytest.raises(ValidationError, match="the Redis of this installation"):
        checked([vendor], **queue)


def test_what_may_stay_private(vendor: Account) -> None:
    checked([vendor], backlog_url=PUBLIC)
    checked([vendor], backlog_url=PRIVATE, redis_route="tunnel")
    for account in (
        an_account("local"),
        an_account("docker", options={"host": "tcp://127.0.0.1:2375"}),
        an_account("vastai", options={"base_url": NOBODY}),
        an_account("runpod", options={}, enabled=False),
    ):
        checked([account], backlog_url=PRIVATE, stream=account.name)


def test_a_fleet_of_before_can_be_edited_but_not_get_worse(vendor: Account) -> None:
    fleet = a_fleet(accounts=[vendor], backlog_url=PRIVATE, image="agent:1", max_instances=3)
    other = an_account("vastai", options={})
    operating.edit(fleet, {"max_instances": 1}, by="test")
    with pytest.raises(ValidationError, match=r"cannot use rediss://10\.0\.0\.6"):
        operating.edit(fleet, {"backlog_url": "rediss://10.0.0.6/0"}, by="test")
    fleet.refresh_from_db()
    with pytest.raises(ValidationError, match="cannot use"):
        operating.edit(fleet, {}, accounts=[vendor, other], by="test")
    operating.edit(fleet, {"redis_route": "tunnel"}, by="test")
    with pytest.raises(ValidationError, match="cannot use"):
        operating.edit(fleet, {"redis_route": "internet"}, by="test")


@pytest.mark.parametrize("changes", [{"enabled": True}, {"options": {}}])
def test_an_account_is_not_switched_on_for_a_fleet_that_its_pods_could_not_serve(
    changes: dict[str, Any],
) -> None:
    account = an_account("runpod", name="rp", enabled="enabled" not in changes)
    Account.objects.filter(pk=account.pk).update(
        options={} if "enabled" in changes else {"base_url": NOBODY}
    )
    account.refresh_from_db()
    a_fleet(name="emb", accounts=[account], backlog_url=PRIVATE)
    with pytest.raises(ValidationError, match=r"the fleet emb: pods rented from rp cannot use"):
        editing.save_account(
            account, changes=changes, connect=lambda _account: pytest.fail("asked")
        )
    account.refresh_from_db()
    assert not reaching._rented([account])


def test_the_form_shows_it_at_the_address(admin_client: Client, vendor: Account) -> None:
    page = admin_client.post("/admin/fleet/fleet/add/", {
        "name": "emb", "handler": "a:b", "image": "agent:1", "accounts": [vendor.pk],
        "backlog": "redis_stream", "backlog_url": PRIVATE, "redis_route": "internet",
    })  # fmt: skip
    [text] = page.context["adminform"].form.errors["backlog_url"]
    assert "cannot use rediss://10.0.0.5:6380" in text


def test_the_command_and_the_declared_file_refuse_it(vendor: Account, tmp_path: Any) -> None:
    given = ("--handler", "a:b", "--image", "agent:1", "--account", "rp")
    with pytest.raises(CommandError, match="backlog_url: pods rented from rp cannot use"):
        run("create", "emb", *given)
    declared = tmp_path / "fleets.toml"
    declared.write_text('[fleets.emb]\nhandler = "a:b"\nimage = "agent:1"\naccounts = ["rp"]\n')
    with pytest.raises(CommandError, match="cannot use the Redis of this installation"):
        call_command("fleet", "apply", str(declared))
    assert not Fleet.objects.exists()
    run("create", "emb", *given, "--redis-route", "tunnel")
    assert Fleet.objects.get().redis_route == "tunnel"


def test_the_page_of_a_fleet_of_before_says_it(admin_client: Client, vendor: Account) -> None:
    fleet = a_fleet(accounts=[vendor], backlog_url=PRIVATE)
    page = admin_client.get(f"/admin/fleet/fleet/{fleet.pk}/").content.decode()
    assert "Pods rented from rp cannot use rediss://10.0.0.5:6380" in page
    Fleet.objects.update(redis_route="tunnel")
    assert "cannot use" not in admin_client.get(f"/admin/fleet/fleet/{fleet.pk}/").content.decode()
