"""The environment variables, with their types and limits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from pydantic import ValidationError

from config.env import ROOT, Env


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("PODFLEET_") or name in {"DATABASE_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)


def test_without_settings_it_serves_only_this_machine() -> None:
    env = Env()
    assert env.bind == "127.0.0.1"
    assert set(env.allowed_hosts) == {"localhost", "127.0.0.1", "[::1]"}
    assert not env.debug
    assert env.var_dir == ROOT / "var"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODFLEET_ALLOWED_HOSTS", "fleet.example, ops.example,")
    assert Env().allowed_hosts == ("fleet.example", "ops.example")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PODFLEET_WEB_PORT", "0"),
        ("PODFLEET_WEB_PORT", "65536"),
        ("PODFLEET_WORKER_CONCURRENCY", "0"),
        ("PODFLEET_DEBUG", "perhaps"),
    ],
)
def test_a_value_outside_its_limits_is_refused_with_its_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.removeprefix("PODFLEET_").lower()):
        Env()


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODFLEET_SECRET_KEY", "hunter2")
    monkeypatch.setenv("PODFLEET_FIELD_KEYS", "hunter3,hunter4")
    monkeypatch.setenv("REDIS_URL", "redis://:hunter5@cache/0")
    monkeypatch.setenv("DATABASE_URL", "postgres://podfleet:hunter6@database/podfleet")
    assert "hunter" not in f"{Env()!r} {Env()}"
    assert Env().secret_key.get_secret_value() == "hunter2"


def test_a_secret_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "podfleet_secret_key").write_text("from a file\n")
    code = "from config.env import env; print(env().secret_key.get_secret_value())"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PODFLEET_SECRETS_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.strip() == "from a file"


PRODUCTION = {
    "PODFLEET_PRODUCTION": "1",
    "PODFLEET_SECRET_KEY": "k" * 60,
    "DATABASE_URL": "postgres://podfleet@database/podfleet",
    "REDIS_URL": "redis://cache/0",
}


@pytest.mark.parametrize("missing", ["PODFLEET_SECRET_KEY", "DATABASE_URL", "REDIS_URL"])
def test_production_requires_its_own_secret_and_services(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    assert Env().production
    monkeypatch.delenv(missing)
    with pytest.raises(ImproperlyConfigured, match=f"{missing}.* must be set too"):
        Env()
    monkeypatch.delenv("PODFLEET_PRODUCTION")
    assert not Env().production


def test_production_refuses_a_short_secret_and_does_not_repeat_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**PRODUCTION, "PODFLEET_SECRET_KEY": "change-me"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match="fewer than 40 characters") as refused:
        Env()
    assert "change-me" not in str(refused.value)


@pytest.mark.parametrize("missing", ["PODFLEET_SECRET_KEY", "DATABASE_URL", "REDIS_URL"])
@pytest.mark.fault(70)
def test_production_refuses_a_generated_secret_and_an_embedded_service(
    missing: str, tmp_path: Path
) -> None:
    given = {**PRODUCTION, "PODFLEET_VAR_DIR": str(tmp_path)}
    base = {name: value for name, value in os.environ.items() if name not in given}
    settings = [sys.executable, "-c", "import config.settings"]

    def start(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            settings, cwd=ROOT, env={**base, **env}, capture_output=True, text=True, check=False
        )

    assert start(given).returncode == 0
    typed = start({**given, "PODFLEET_SECRET_KEY": "change-me"})
    assert "PODFLEET_SECRET_KEY has fewer than 40 characters" in typed.stderr
    assert "change-me" not in typed.stderr
    del given[missing]
    refused = start(given)
    assert refused.returncode != 0
    assert missing in refused.stderr.strip().splitlines()[-1]
