"""How the web pages keep strangers out."""

import io
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.backends.utils import CursorWrapper
from django.db.utils import OperationalError
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django_celery_beat.models import PeriodicTask
from structlog.testing import capture_logs

from config.env import ROOT
from fleet.models import Fleet, Tick
from fleet.tick import ticking
from pods.agent_redis import redis_users
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"
PASSWORD = "correct horse battery staple"
# The description of the API is in the repository too, and says nothing of this installation.
OPEN = {
    "healthz",
    "readyz",
    "api/v1/openapi.json",
}  # pages that need no login, and show only whether it works


def try_to_log_in(name: str, password: str, *, address: str = "203.0.113.7") -> Any:
    answer = Client(REMOTE_ADDR=address).post(LOGIN, {"username": name, "password": password})
    return answer.status_code


def test_ten_wrong_passwords_lock_a_name_out_only_from_their_address() -> None:
    for name in ("ann", "bob"):
        User.objects.create_superuser(name, password=PASSWORD)
    for _ in range(settings.AXES_FAILURE_LIMIT):
        try_to_log_in("ann", "guess")
    assert try_to_log_in("ann", PASSWORD) == 429
    assert try_to_log_in("bob", PASSWORD) == 302
    assert try_to_log_in("ann", PASSWORD, address="198.51.100.1") == 302


def test_pages_load_only_from_this_host_and_cannot_be_framed(admin_client: Client) -> None:
    for page in (LOGIN, reverse("admin:index")):
        answer = admin_client.get(page)
        policy = answer["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy.replace("'self'", "")
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == "same-origin"


def patterns(resolver: URLResolver, prefix: str = "") -> list[str]:
    found = []
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            found += patterns(entry, prefix + str(entry.pattern))
        elif isinstance(entry, URLPattern):
            found.append(prefix + str(entry.pattern))
    return found


def test_every_page_except_the_health_checks_requires_a_login(client: Client) -> None:
    fleet = a_fleet()
    opened = []
    for pattern in patterns(get_resolver()):
        path = pattern.replace("<path:object_id>", str(fleet.pk)).replace("<id>", "1")
        path = re.sub(r"<int:\w+>", str(fleet.pk), path)
        path = path.removesuffix("$").replace("^", "").replace("\\Z", "")
        if any(mark in path for mark in "<(["):
            continue
        answer = client.get(f"/{path}")
        if answer.status_code == 200:
            opened.append(path)
    assert set(opened) == {*OPEN, "admin/login/"}


def test_health_checks_show_only_health(client: Client) -> None:
    assert client.get("/healthz").content == b"ok\n"
    assert set(client.get("/readyz").json()) == {"ready", "missing"}


@pytest.mark.parametrize(
    ("minutes", "ready"), [(0, True), (0.5, True), (2, False), (-60, False)],
    ids=["now", "a moment ago", "minutes ago", "in the future"],
)  # fmt: skip
def test_an_installation_is_ready_only_if_its_fleets_are_decided_on(
    client: Client, redis_url: str, minutes: float, *, ready: bool
) -> None:
    fleet = a_fleet()
    assert client.get("/readyz").json() == {"ready": True, "missing": {}}  # it is new
    Fleet.objects.update(created_at=utcnow() - timedelta(hours=2))
    missing = {"decisions": "fleets without a recent one: 1; look at beat, workers"}
    assert client.get("/readyz").json()["missing"] == missing
    ticking.tick_fleet(fleet.pk)
    Tick.objects.update(at=utcnow() - timedelta(minutes=minutes))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200 if ready else 503, ready)
    PeriodicTask.objects.update(enabled=False)  # an operator wants no decisions
    assert client.get("/readyz").status_code == 200


def test_health_checks_and_prometheus_may_ask_without_https(client: Client, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    statuses = {
        path: client.get(f"/{path}").status_code for path in ("healthz", "metrics", "admin/")
    }
    assert statuses == {"healthz": 200, "metrics": 403, "admin/": 301}


@pytest.mark.parametrize(("periods", "ready"), [(2.9, True), (3.1, False)])
def test_it_is_not_ready_after_three_periods_without_a_decision(
    client: Client, redis_url: str, periods: float, *, ready: bool
) -> None:
    fleet = a_fleet(tick=timedelta(seconds=60))
    ticking.tick_fleet(fleet.pk)
    Tick.objects.update(at=utcnow() - periods * timedelta(seconds=60))
    assert (client.get("/readyz").status_code == 200) is ready


def test_it_is_not_ready_while_redis_or_the_database_is_away(
    client: Client, settings: Any, redis_url: str
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9"
    assert client.get("/readyz").json()["missing"] == {"redis": "ConnectionError"}
    settings.REDIS_URL = redis_url
    with mock.patch.object(CursorWrapper, "execute", side_effect=OperationalError("gone")):
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, {"database": "OperationalError"})


@pytest.mark.parametrize(
    ("task", "ready"),
    [("pods.nudge", False), ("fleet.prune", True)],
    ids=["beat is ahead", "beat was ahead, and the task runs seldom"],
)
def test_it_is_not_ready_if_the_times_of_beat_lie_in_the_future(
    client: Client, redis_url: str, task: str, *, ready: bool
) -> None:
    at = utcnow() + timedelta(minutes=10)
    assert PeriodicTask.objects.filter(task=task).update(last_run_at=at) == 1
    answer = client.get("/readyz").json()
    assert answer["ready"] is ready
    assert ("set the clocks" in answer["missing"].get("beat", "")) is not ready


def test_a_redis_that_does_not_answer_is_named_before_the_start(
    db: None, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.REDIS_URL, settings.EMBEDDED_REDIS = "redis://:hunter7@127.0.0.1:1/0", False
    call_command("prepare", stdout=io.StringIO())
    said = capsys.readouterr().err
    assert "warning: REDIS_URL: Redis cannot be used: " in said
    assert "hunter7" not in said


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl", "allkeys-lfu"])
def test_a_redis_that_deletes_keys_by_itself_is_not_ready(
    client: Client, redis_url: str, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = redis_client(redis_url)
    assert "redis" not in client.get("/readyz").json()["missing"]
    server.config_set("maxmemory-policy", policy)
    try:
        answer = client.get("/readyz")
        call_command("prepare", stdout=io.StringIO())
        with capture_logs() as logs:
            assert redis_users.pod_address(a_pod())
    finally:
        server.config_set("maxmemory-policy", "noeviction")
    assert answer.status_code == 503
    assert f"maxmemory-policy is {policy}" in answer.json()["missing"]["redis"]
    assert "set it to noeviction" in capsys.readouterr().err
    assert [entry["event"] for entry in logs] == ["redis_may_delete_fences"]


@pytest.mark.fault(70)
def test_django_has_no_warnings_about_a_production_configuration(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "PODFLEET_PRODUCTION": "1",
        "PODFLEET_SECRET_KEY": "k7Qz-9xTwB" * 6,
        "PODFLEET_FIELD_KEYS": "f8Ry_3mLpD" * 6,
        "PODFLEET_HTTPS": "1",
        "PODFLEET_BEHIND_PROXY": "1",
        "PODFLEET_ALLOWED_HOSTS": "fleet.example",
        "PODFLEET_VAR_DIR": str(tmp_path),
        "DATABASE_URL": "postgres://podfleet:secret@database.example/podfleet",
        "REDIS_URL": "rediss://:secret@cache.example/0",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tasks_are_accepted_only_as_json() -> None:
    assert settings.CELERY_ACCEPT_CONTENT == ["json"]
    assert settings.CELERY_TASK_SERIALIZER == "json"


def test_a_handler_named_in_the_admin_is_never_imported_by_the_manager(
    admin_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap_of_a_handler.py").write_text("raise SystemExit('imported by the manager')")
    monkeypatch.syspath_prepend(str(tmp_path))
    fleet = a_fleet(handler="trap_of_a_handler:run")
    for name in ("admin:fleet_fleet_change", "fleet-next"):
        assert admin_client.get(reverse(name, args=[fleet.pk])).status_code == 200
    assert "trap_of_a_handler" not in sys.modules
