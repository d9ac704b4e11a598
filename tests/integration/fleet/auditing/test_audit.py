"""The audit log says who did what, by what, and shows no secret."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from fleet import operating, tokens
from fleet.auditing import sources
from fleet.models import ApiToken, Fleet, PersonEvent, Scope
from fleet.people import note
from pods.base.clock import utcnow
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db


def written(capsys: Any, *options: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    call_command("audit", "--json", *options)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [row for row in rows if row["kind"] != "limits"]  # a migration makes that row


def edits(rows: list[dict[str, Any]]) -> list[tuple[str, str, str, Any]]:
    return [(row["who"], row["how"], row["what"], row["changes"]) for row in rows]


def test_an_edit_has_who_how_and_the_fields_from_and_to(
    admin_client: Client, capsys: Any, redis_url: str
) -> None:
    fleet = a_fleet(name="emb", max_instances=2)
    owner = User.objects.get(username="admin")
    _, secret = tokens.make_token(owner, "ci", Scope.OPERATE, by="test")
    bearer = {"authorization": f"Bearer {secret}"}
    read = admin_client.get(f"/api/v1/fleets/{fleet.name}", headers=bearer)
    answer = admin_client.patch(
        f"/api/v1/fleets/{fleet.name}", {"max_instances": 3}, content_type="application/json",
        headers={**bearer, "if-match": read["ETag"]},
    )  # fmt: skip
    assert answer.status_code == 200, answer.content
    call_command("fleet", "set", "emb", "--max-instances", "4")
    admin_client.post(reverse("fleet-mode", args=[fleet.pk]), {"mode": "paused"})
    operating.edit(Fleet.objects.get(), {"max_instances": 5}, by="the tick")
    rows = [row for row in written(capsys) if row["kind"] == "fleet" and row["what"] == "changed"]
    machine = rows[1]["who"]
    assert machine not in {"", "admin"} or machine == "root"
    assert edits(rows) == [
        ("admin", "API token", "changed", [{"field": "max_instances", "from": 2, "to": 3}]),
        (machine, "command", "changed", [{"field": "max_instances", "from": 3, "to": 4}]),
        ("admin", "admin", "changed", [{"field": "mode", "from": "running", "to": "paused"}]),
        ("", "manager", "changed", [{"field": "max_instances", "from": 4, "to": 5}]),
    ]
    assert [row["object"] for row in rows] == ["emb"] * 4
    assert all(row["at"].endswith("Z") for row in rows)


def test_no_secret_is_in_it(capsys: Any) -> None:
    fleet = a_fleet(name="emb", backlog_url="redis://:hunter1@one/0", handler_env={"K": "hunter2"})
    fresh = Fleet.objects.get(pk=fleet.pk)
    fresh.backlog_url, fresh.handler_env = "redis://:hunter3@one/0", {"K": "hunter4"}
    fresh.save(update_fields=["backlog_url", "handler_env"])
    for form in ("--json", "--csv", ""):
        capsys.readouterr()
        call_command("audit", *filter(None, [form]))
        out = capsys.readouterr().out
        assert "hunter" not in out
        assert "backlog_url" in out
        assert "(changed)" in out


def test_tokens_sign_ins_and_edits_of_users_are_in_it(admin_client: Client, capsys: Any) -> None:
    note(PersonEvent.What.WRONG_PASSWORD, "eve", how="password", said="x")
    admin_client.post(
        reverse("admin:auth_user_add"),
        {
            "username": "bob", "role": "viewer", "is_active": "on", "usable_password": "true",
            "password1": "correct horse battery", "password2": "correct horse battery",
        },
    )  # fmt: skip
    bob = User.objects.get(username="bob")
    token, _ = tokens.make_token(bob, "ci", Scope.READ, by="test")
    tokens.revoke(ApiToken.objects.get(), by="admin (API)")
    rows = [row for row in written(capsys) if row["object"] != "admin"]
    seen = [(row["what"], row["kind"], row["object"], row["who"], row["how"]) for row in rows]
    name = str(token)
    assert seen == [
        ("wrong password", "user", "eve", "eve", "password"),
        ("created", "user", "bob", "admin", "admin"),
        ("role changed", "user", "bob", "admin", "admin"),
        ("created", "API token", name, "", "manager"),
        ("revoked", "API token", name, "", "manager"),
    ]
    assert rows[2]["changes"] == [{"field": "role", "from": "none", "to": "viewer"}]
    assert [row["object"] for row in written(capsys, "--user", "eve")] == ["eve"]


def test_the_times_bound_it_and_it_is_in_their_order(capsys: Any) -> None:
    for hours in (30, 20, 10):
        note(PersonEvent.What.SIGNED_IN, f"h{hours}", how="password")
    for row in PersonEvent.objects.all():
        PersonEvent.objects.filter(pk=row.pk).update(
            at=utcnow() - timedelta(hours=int(row.name[1:]))
        )
    assert [row["object"] for row in written(capsys)] == ["h30", "h20", "h10"]
    assert [row["object"] for row in written(capsys, "--since", "1d")] == ["h20", "h10"]
    assert [r["object"] for r in written(capsys, "--since", "1d", "--until", "15h")] == ["h20"]
    with pytest.raises(CommandError, match="is not before"):
        call_command("audit", "--since", "1h", "--until", "2h")
    for wrong in ("7", "7x", "yesterday", "999999w"):
        with pytest.raises(CommandError, match="is not a moment"):
            call_command("audit", "--since", wrong)


@pytest.mark.parametrize("form", ["--json", "--csv", "--until=2000-01-01"])
def test_a_user_whom_nobody_knows_is_said(capsys: Any, form: str) -> None:
    User.objects.create_user("ann")
    call_command("audit", "--user", "ann", form)
    assert capsys.readouterr().err == ""
    call_command("audit", "--user", "nobody", form)
    assert capsys.readouterr().err.startswith("no user 'nobody': ")


def test_it_reads_rows_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PIECE", 10)
    now = utcnow()
    PersonEvent.objects.bulk_create(
        PersonEvent(at=now - timedelta(seconds=n + 1), what="signed_in", name="ann", how="password")
        for n in range(1000)
    )
    found = sources.entries(now - timedelta(days=1), now, user="ann")
    with CaptureQueriesContext(connection) as asked:
        next(found)
    assert len(asked) < 25
    assert sum(1 for _ in found) == 999


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_the_download_is_for_owners(client: Client, role: str) -> None:
    client.force_login(User.objects.create_superuser("root-user"))
    a_fleet(name="emb")
    listed = reverse("admin:pods_podevent_changelist") + "?who=people"
    assert reverse("audit-log") in client.get(listed).content.decode()
    answer: Any = client.get(reverse("audit-log"))
    rows = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))
    assert "emb" in {row["object"] for row in rows}
    other = User.objects.create_user("other", is_staff=True)
    other.groups.set([Group.objects.get(name=role)])
    client.force_login(other)
    assert client.get(reverse("audit-log")).status_code == 403
    assert reverse("audit-log") not in client.get(listed).content.decode()
