"""Changes of accounts, channels, holds, tokens and users are in the audit log, whoever makes them."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.urls import reverse

from fleet import holding, shadowing, tokens
from fleet.alerts import delivering
from fleet.auditing import sources
from fleet.models import ApiToken, Channel, Override, PersonEvent, Scope
from pods.accounts import editing
from pods.base.acting import by_a_command, user_of_machine
from pods.base.clock import utcnow
from pods.models import Account, histories
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db
SECRET = "hunter-of-secrets"


def written(capsys: Any) -> list[dict[str, Any]]:
    capsys.readouterr()
    call_command("audit", "--json")
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def seen(rows: list[dict[str, Any]], kind: str) -> list[tuple[Any, ...]]:
    return [
        (row["who"], row["how"], row["what"], row["object"], row["changes"])
        for row in rows
        if row["kind"] == kind
    ]


def by_api(client: Client) -> tuple[Callable[..., Any], str]:
    owner = User.objects.get(username="admin")
    row, secret = tokens.make_token(owner, "ci", Scope.ADMIN, by="test")
    return (
        lambda verb, path, body=None, **more: getattr(client, verb)(
            f"/api/v1{path}", body, content_type="application/json",
            headers={"authorization": f"Bearer {secret}", **more},
        )
    ), row.prefix  # fmt: skip


def test_an_account_has_who_how_and_the_fields_whoever_changes_it(
    admin_client: Client, capsys: Any, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    call, prefix = by_api(admin_client)
    made = call("post", "/accounts", {"name": "mine", "provider": "local"})
    assert made.status_code == 201, made.content
    path = f"/accounts/{made.json()['id']}"
    answer = call("patch", path, {"enabled": False}, **{"if-match": made["ETag"]})
    assert answer.status_code == 200, answer.content
    monkeypatch.setattr("sys.stdin", io.StringIO(SECRET))
    call_command("account", "set", "mine", "--secret-stdin")
    assert call("delete", path).status_code == 204
    rows = written(capsys)
    found = seen(rows, "account")
    assert [entry[:3] for entry in found] == [
        ("admin", "API token", "created"), ("admin", "API token", "changed"),
        (user_of_machine(), "command", "changed"), ("admin", "API token", "deleted"),
    ]  # fmt: skip
    assert found[1][4] == [{"field": "enabled", "from": True, "to": False}]
    assert found[2][4] == [{"field": "key", "from": "", "to": "(changed)"}]
    assert [row["token"] for row in rows if row["kind"] == "account"] == [
        prefix, prefix, "", prefix,
    ]  # fmt: skip
    assert SECRET not in json.dumps(rows)


def test_a_channel_has_them_and_its_address_is_not_kept(admin_client: Client, capsys: Any) -> None:
    with by_a_command():
        channel = Channel(name="pager")
        delivering.write_channel(channel, f"jsons://alerts.example/{SECRET}")
        delivering.write_channel(channel, f"jsons://alerts.example/{SECRET}2")
    call, _ = by_api(admin_client)
    assert call("delete", f"/channels/{channel.pk}").status_code == 204
    rows = written(capsys)
    found = seen(rows, "alert channel")
    assert [entry[:3] for entry in found] == [
        (user_of_machine(), "command", "created"), (user_of_machine(), "command", "changed"),
        ("admin", "API token", "deleted"),
    ]  # fmt: skip
    assert found[1][4] == [{"field": "address", "from": "", "to": "(changed)"}]
    assert SECRET not in json.dumps(rows)
    kept = Channel.history.values()
    assert not any("sealed" in name for row in kept for name in row)


def test_a_change_in_the_admin_is_one_entry(admin_client: Client, capsys: Any) -> None:
    fleet = a_fleet(name="emb")
    body = {"fleet": fleet.pk, "pods": 2, "lasts": "1h", "because": "a test"}
    assert admin_client.post(reverse("admin:fleet_override_add"), body).status_code == 302
    holding.end_now(Override.objects.all(), now=utcnow())
    found = seen(written(capsys), "manual hold")
    assert [entry[:4] for entry in found] == [
        ("admin", "admin", "created", "emb"), ("", "manager", "changed", "emb"),
    ]  # fmt: skip
    assert [change["field"] for change in found[1][4]] == ["until"]


def test_a_row_of_an_older_version_has_the_values_from_before(capsys: Any) -> None:
    account = Account.objects.bulk_create([Account(name="old", provider="local")])[0]
    owner = User.objects.create_superuser("ann")
    token, _ = tokens.make_token(owner, "ci", Scope.READ, by="test")
    Account.history.all().delete()
    ApiToken.history.all().delete()
    account.enabled = False
    editing.write_account(account, ["enabled"], tried=editing.Tried(good=None, says=""))
    tokens.revoke(token, by="test")
    rows = written(capsys)
    assert seen(rows, "account") == [
        ("", "manager", "changed", "old", [{"field": "enabled", "from": True, "to": False}])
    ]
    assert [entry[2] for entry in seen(rows, "API token")] == ["created", "revoked"]


def test_users_have_the_fields_and_no_password(capsys: Any, admin_client: Client) -> None:
    with by_a_command():
        bob = User.objects.create_user("bob", password=SECRET)
        bob.email = "bob@example.com"
        bob.set_password(f"{SECRET}2")
        bob.save()
        bob.save(update_fields=["last_login"])
        bob.delete()
    rows = [row for row in written(capsys) if row["object"] == "bob"]
    assert [(row["who"], row["how"], row["what"]) for row in rows] == [
        (user_of_machine(), "command", what)
        for what in ("created", "changed", "changed", "deleted")
    ]
    assert [row["changes"] for row in rows[1:3]] == [
        [{"field": "email", "from": "", "to": "bob@example.com"}],
        [{"field": "password", "from": "", "to": "(changed)"}],
    ]
    assert SECRET not in json.dumps(rows)


def test_a_password_that_a_sign_in_hashes_anew_is_no_change(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    ann = User.objects.create_user("ann", password=SECRET)
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher", *settings.PASSWORD_HASHERS
    ]  # fmt: skip
    before = ann.password
    assert User.objects.get().check_password(SECRET)
    assert User.objects.get().password != before
    assert [row.what for row in PersonEvent.objects.all()] == ["made"]


def test_a_sign_out_is_in_it(admin_client: Client, capsys: Any) -> None:
    admin_client.post(reverse("admin:logout"))
    outs = [row for row in written(capsys) if row["what"] == "signed out"]
    assert [(row["who"], row["object"], row["address"]) for row in outs] == [
        ("admin", "admin", "127.0.0.1")
    ]


def test_a_shadow_that_begins_and_ends_is_in_it(capsys: Any) -> None:
    fleet = a_fleet(name="emb", max_instances=2)
    shadowing.begin(fleet, {"max_instances": 8}, by="ann")
    assert shadowing.end(fleet) is not None
    said = [row["said"] for row in written(capsys) if "shadow" in row["said"]]
    assert said == [
        "shadow max_instances=8 begun for 14 days by ann", "shadow max_instances=8 ended by hand",
    ]  # fmt: skip


@pytest.mark.parametrize("model", [Account, Channel])
def test_a_change_without_its_entry_does_not_happen(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after the row and before its history."""

    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    row = model.objects.create(name="one")
    monkeypatch.setattr(model.history.model, "save", die)
    row.enabled = False
    with transaction.atomic(), pytest.raises(Killed):
        row.save()
    assert model.objects.get(pk=row.pk).enabled
    assert issubclass(model, histories.Recorded)


def test_edits_in_the_admin_of_an_older_version_stay_in_it(
    admin_client: Client, admin_user: User
) -> None:
    from django.contrib.admin.models import CHANGE, LogEntry

    account = Account.objects.create(name="old", provider="local")
    Account.history.all().delete()
    LogEntry.objects.log_actions(admin_user.pk, [account], CHANGE, change_message="x")
    now = utcnow()
    kinds = [entry.kind for entry in sources.entries(now.replace(year=2000), now)]
    assert "account" in kinds
