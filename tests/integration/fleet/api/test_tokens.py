"""Tokens: made, revoked, recognised, bounded; never more than their user may do."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from fleet import tokens
from fleet.models import ApiToken, Scope
from pods.base.clock import utcnow
from tests.support.api import ApiClient, a_client, a_person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _server(redis_url: str) -> None:
    """Requests are counted in Redis."""


def command(*args: str) -> Any:
    out = io.StringIO()
    call_command("token", *args, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_a_token_of_the_command_works_is_listed_without_its_secret_and_revoked() -> None:
    a_person("ann", "operator")
    made = command("create", "ann", "ci", "--scope", "operate", "--days", "7")
    client = ApiClient(made["token"])
    assert client.get("/fleets").status_code == 200
    (row,) = command("list")
    assert (row["owner"], row["name"], row["scope"], row["state"]) == (
        "ann",
        "ci",
        "operate",
        "in use",
    )
    assert row["last_used_at"]
    assert made["token"] not in json.dumps(row)
    assert made["token"].startswith(row["prefix"])
    assert command("revoke", row["prefix"]) == {"revoked": row["prefix"]}
    assert client.get("/fleets").status_code == 401
    with pytest.raises(CommandError, match="no token in use"):
        command("revoke", row["prefix"])


def test_a_token_that_may_not_be_used_is_refused() -> None:
    client = a_client("operator", name="ann")
    ann = User.objects.get(username="ann")
    for change in ({"is_active": False}, {"is_staff": False}):
        User.objects.filter(pk=ann.pk).update(**change)
        answer = client.get("/fleets")
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="podfleet"')
        User.objects.filter(pk=ann.pk).update(is_active=True, is_staff=True)
    ApiToken.objects.update(expires_at=utcnow())
    assert client.get("/fleets").status_code == 401
    assert ApiClient(client.secret[:-1] + "x").get("/fleets").status_code == 401
    assert ApiClient("").get("/fleets").status_code == 401


@pytest.mark.parametrize(
    ("role", "scope", "status"),
    [
        ("viewer", Scope.ADMIN, 403),
        ("operator", Scope.READ, 403),
        ("operator", Scope.OPERATE, 200),
        ("operator", Scope.ADMIN, 200),
        ("admin", Scope.READ, 403),
    ],
)
def test_a_token_never_may_more_than_its_scope_and_its_user(
    role: str, scope: Scope, status: int
) -> None:
    client = a_client(role, scope=scope)
    assert client.post("/stop").status_code == status
    assert client.get("/stop").status_code == 200


def test_an_operator_may_not_change_the_limits() -> None:
    assert a_client("operator").patch("/limits", {"max_instances": 3}).status_code == 403
    admin = a_client("admin")
    tag = admin.get("/limits")["ETag"]
    assert admin.patch("/limits", {"max_instances": 3}).status_code == 428
    assert admin.patch("/limits", {"max_instances": 3}, if_match=tag).status_code == 200
    assert admin.patch("/limits", {"max_instances": 4}, if_match=tag).status_code == 412


def test_the_last_use_is_written_at_most_once_a_minute() -> None:
    client = a_client()
    client.get("/fleets")
    first = ApiToken.objects.get().last_used_at
    client.get("/fleets")
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=utcnow() - timedelta(minutes=2))
    client.get("/fleets")
    assert ApiToken.objects.get().last_used_at >= first


def test_failed_requests_are_bounded_and_a_good_token_still_works(settings: Any) -> None:
    settings.API_FAILURES_PER_MINUTE = 3
    client, wrong = a_client(), ApiClient("pf_00000000_" + "x" * 43)
    assert [wrong.get("/fleets").status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    refused = wrong.get("/fleets")
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused["Content-Type"] == "application/problem+json"
    assert client.get("/fleets").status_code == 200


def test_the_requests_of_a_token_are_bounded(settings: Any) -> None:
    settings.API_REQUESTS_PER_MINUTE = 2
    client = a_client()
    assert [client.get("/fleets").status_code for _ in range(3)] == [200, 200, 429]


def test_it_works_and_counts_while_redis_is_away(settings: Any) -> None:
    settings.REDIS_URL, settings.API_REQUESTS_PER_MINUTE = "redis://127.0.0.1:1/0", 2
    client = a_client()
    assert client.post("/stop").json()["mode"] == "stop_all"
    assert [client.post("/stop/undo").status_code for _ in range(2)] == [200, 429]


def test_a_token_needs_a_user_with_a_role_an_end_and_a_free_name() -> None:
    ann = a_person("ann", "viewer")
    tokens.make_token(ann, "ci", Scope.READ, by="x")
    for wrong in ({"name": "ci"}, {"name": "b", "days": 0}, {"name": "b", "days": 9999}):
        with pytest.raises(ValidationError):
            tokens.make_token(ann, scope=Scope.READ, by="x", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="no role"):
        tokens.make_token(User.objects.create_user("bob"), "ci", Scope.READ, by="x")
