"""The environment variables, with their types and limits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dj_database_url
import pytest
from django.core.exceptions import ImproperlyConfigured
from pydantic import ValidationError

from config.env import ROOT, Env, env
from tests.support.redis_clients import client_arguments


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("PODFLEET_") or name.startswith(("DATABASE_", "REDIS_")):
            monkeypatch.delenv(name)


def test_without_settings_it_serves_only_this_machine() -> None:
    known = Env()
    assert known.bind == "127.0.0.1"
    assert set(known.allowed_hosts) == {"localhost", "127.0.0.1", "[::1]"}
    assert not known.debug
    assert known.var_dir == ROOT / "var"


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


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("/0?decode_responses=True", "REDIS_URL: the address has the word decode_responses"),
        ("/zero", "REDIS_URL: the database is 'zero'"),
        ("/0;redis://:hunter5@other/0", "REDIS_URL: this is a list of addresses"),
    ],
)
def test_an_address_of_redis_that_cannot_be_read_is_refused_and_not_repeated(
    query: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:hunter5@cache{query}")
    with pytest.raises(ImproperlyConfigured, match=message) as refused:
        Env()
    assert "hunter" not in str(refused.value)


def test_celerys_spelling_of_tls_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://cache/0?ssl_cert_reqs=CERT_REQUIRED")
    assert Env().redis_url.get_secret_value() == "rediss://cache/0?ssl_cert_reqs=required"


def test_any_character_may_stand_in_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "p@ss/w#rd:%?[& é"
    given = {
        "REDIS_URL": "redis://valkey:6379/0", "REDIS_PASSWORD": odd,
        "DATABASE_URL": "postgres://podfleet@postgres:5432/podfleet", "DATABASE_PASSWORD": odd,
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    read = client_arguments(Env().redis_url.get_secret_value())
    assert (read["password"], read["host"], read["db"]) == (odd, "valkey", 0)
    assert "username" not in read
    monkeypatch.setenv("REDIS_USERNAME", "podfleet")
    assert client_arguments(Env().redis_url.get_secret_value())["username"] == "podfleet"
    database = dj_database_url.parse(Env().database_url.get_secret_value())
    assert (database["USER"], database["PASSWORD"], database["HOST"]) == (
        "podfleet",
        odd,
        "postgres",
    )


def test_an_address_keeps_its_own_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://me:mine@cache/0")
    monkeypatch.setenv("REDIS_PASSWORD", "other")
    monkeypatch.setenv("DATABASE_URL", "sqlite:////tmp/a.sqlite3")
    monkeypatch.setenv("DATABASE_PASSWORD", "other")
    assert Env().redis_url.get_secret_value() == "redis://me:mine@cache/0"
    assert Env().database_url.get_secret_value() == "sqlite:////tmp/a.sqlite3"


def test_both_addresses_of_redis_name_the_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODFLEET_REDIS_CA", "/ca.pem")
    monkeypatch.setenv("REDIS_URL", "rediss://:s@valkey:6380/0")
    monkeypatch.setenv("PODFLEET_PODS_REDIS_URL", "rediss://redis.example.com:6380/0")
    env = Env()
    assert client_arguments(env.redis_url.get_secret_value())["ssl_ca_certs"] == "/ca.pem"
    assert client_arguments(env.pods_redis_url)["ssl_ca_certs"] == "/ca.pem"
    monkeypatch.setenv("REDIS_URL", "redis://:s@valkey:6379/0")
    assert Env().redis_url.get_secret_value() == "redis://:s@valkey:6379/0"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("rediss://:hunter2@h/0", "has a login; leave it out"),
        ("http://h/0", "PODFLEET_PODS_REDIS_URL: an address of Redis begins with redis://"),
    ],
)
def test_a_wrong_address_for_pods_is_refused(
    address: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODFLEET_PODS_REDIS_URL", address)
    with pytest.raises(ImproperlyConfigured, match=message) as refused:
        Env()
    assert "hunter" not in str(refused.value)


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
    "PODFLEET_FIELD_KEYS": "f" * 60,
    "DATABASE_URL": "postgres://podfleet@database/podfleet",
    "REDIS_URL": "redis://cache/0",
}


OWN = ["PODFLEET_SECRET_KEY", "PODFLEET_FIELD_KEYS", "DATABASE_URL", "REDIS_URL"]


@pytest.mark.parametrize("missing", OWN)
def test_production_requires_its_own_secret_and_services(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {**PRODUCTION, "PODFLEET_VAR_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert Env().production
    monkeypatch.delenv(missing)
    with pytest.raises(ImproperlyConfigured, match=f"{missing}.* must be set too"):
        Env()
    monkeypatch.delenv("PODFLEET_PRODUCTION")
    assert not Env().production


@pytest.mark.parametrize("name", ["PODFLEET_SECRET_KEY", "PODFLEET_FIELD_KEYS"])
def test_production_refuses_a_short_secret_and_does_not_repeat_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {**PRODUCTION, name: "change-me"}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ImproperlyConfigured, match=f"{name} has fewer than 40 char") as refused:
        Env()
    assert "change-me" not in str(refused.value)


def test_production_goes_on_with_field_keys_that_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    both = {
        **PRODUCTION,
        "PODFLEET_FIELD_KEYS": f"{'f' * 60},old",
        "PODFLEET_VAR_DIR": str(tmp_path),
    }
    for name, value in both.items():
        monkeypatch.setenv(name, value)
    assert len(Env().field_keys) == 2  # a short one may still open what it sealed
    monkeypatch.delenv("PODFLEET_FIELD_KEYS")
    (tmp_path / "field-key").write_text("generated by an earlier version")
    assert Env().production


@pytest.mark.parametrize("missing", OWN)
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


@pytest.mark.parametrize(
    ("name", "value", "answer"),
    [
        ("PODFLEET_WEB_PORT", "99999", "PODFLEET_WEB_PORT: Input should be less than or equal"),
        ("PODFLEET_WEB_PORT", "web", "PODFLEET_WEB_PORT: write a whole number"),
        ("PODFLEET_DEBUG", "perhaps", "PODFLEET_DEBUG: write 1 for yes or 0 for no"),
        ("PODFLEET_TIME_ZONE", "Mars", "PODFLEET_TIME_ZONE: 'Mars' is not a time zone"),
        ("PODFLEET_LOG_LEVEL", "LOUD", "PODFLEET_LOG_LEVEL: 'LOUD' is not a level; choose one of"),
        (
            "DATABASE_URL",
            "postgres://u:hunter7/@h/x",
            "DATABASE_URL cannot be read; .*write @ as %40",
        ),
        ("DATABASE_URL", "postgres://u:hunter7#@h/x", "DATABASE_URL cannot be read"),
        ("DATABASE_URL", "postgres://u:hunter7@h:99999/x", "port up to 65535"),
        ("DATABASE_URL", "mysql://u:hunter7@h/x", "DATABASE_URL does not begin with postgresql://"),
        ("REDIS_URL", "redis://:hunter7@h:99999/0", "REDIS_URL cannot be read"),
        ("REDIS_URL", "redis://:hunter7@h:web/0", "REDIS_URL cannot be read"),
        ("REDIS_URL", "http://:hunter7@h", "REDIS_URL does not begin with redis:// or rediss://"),
    ],
)
def test_a_wrong_variable_is_named_with_what_would_be_right_and_without_its_secret(
    name: str, value: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=answer) as refused:
        env.__wrapped__()
    assert "hunter7" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PODFLEET_REQUIRE_TOPT", "PODFLEET_REQUIRE_TOTP"),
        ("PODFLEET_OIDC_ADMIN_GROUP", "PODFLEET_OIDC_ADMIN_GROUPS"),
        ("PODFLEET_WEB_PROT", "PODFLEET_WEB_PORT"),
        ("PODFLEET_HTTP", "PODFLEET_HTTPS"),
    ],
)
def test_a_misspelled_setting_is_refused_with_the_name_that_was_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "hunter7")
    with pytest.raises(ImproperlyConfigured, match=f"did you mean {meant}\\?") as refused:
        env.__wrapped__()
    assert "hunter7" not in str(refused.value)


def test_a_misspelled_file_of_a_secret_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "podfleet_secret_keys").write_text("hunter7")
    monkeypatch.setenv("PODFLEET_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ImproperlyConfigured, match="did you mean PODFLEET_SECRET_KEY"):
        env.__wrapped__()


def test_names_of_agents_and_of_users_own_programs_are_let_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agents = [
        name
        for file in (ROOT / "pods").rglob("*.py")
        for name in re.findall(r"PODFLEET_[A-Z_]+", file.read_text(encoding="utf-8"))
    ]
    assert "PODFLEET_KIND" in agents
    for name in ["PODFLEET_ADMIN_PASSWORD", "PODFLEET_MY_BUCKET", *agents]:
        if name.removeprefix("PODFLEET_").lower() not in Env.model_fields:
            monkeypatch.setenv(name, "x")
    assert env.__wrapped__().web_port == 8000


def test_a_password_with_a_raw_at_sign_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@ss@h/x")
    assert Env().database_url.get_secret_value() == "postgres://u:p@ss@h/x"


@pytest.mark.parametrize("name", ["DATABASE_URL", "PODFLEET_WEB_PORT"])
def test_a_command_with_a_wrong_variable_answers_in_one_line(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "fleet", "list"],
        cwd=ROOT,
        env={**os.environ, name: "postgres://u:hunter7/@h/x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert name in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "hunter7" not in ended.stderr


def test_a_command_before_the_first_migrate_says_which_command_comes_first(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "fleet", "list"],
        cwd=ROOT,
        env={**os.environ, "PODFLEET_VAR_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "manage.py prepare" in ended.stderr
    assert "Traceback" not in ended.stderr


GOOD = {
    "ISSUER": "https://id.example/realms/x", "CLIENT_ID": "podfleet", "CLIENT_SECRET": "hunter2",
    "ADMIN_GROUPS": "admins, ops",
}  # fmt: skip


def test_an_identity_provider_is_described_by_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Env().oidc().issuer == ""
    for name, value in GOOD.items():
        monkeypatch.setenv(f"PODFLEET_OIDC_{name}", value)
    found = Env()
    assert found.oidc().groups["admin"] == ("admins", "ops")
    assert found.oidc().client_secret == "hunter2"
    assert "hunter2" not in f"{found!r} {found.oidc()!r}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ISSUER": "http://id.example"}, "write it as https://"),
        ({"ISSUER": "id.example"}, "write it as https://"),
        ({"ISSUER": "https://[id"}, "write it as https://"),
        ({"ISSUER": "https://id.example/.well-known/openid-configuration"}, "leave that out"),
        ({"CLIENT_SECRET": ""}, "PODFLEET_OIDC_CLIENT_SECRET must be set"),
        ({"ADMIN_GROUPS": ""}, "no group has access"), ({"SCOPES": "email"}, "must have openid"),
    ],
)  # fmt: skip
def test_a_provider_that_is_described_in_part_is_refused(
    change: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**GOOD, **change}.items():
        monkeypatch.setenv(f"PODFLEET_OIDC_{name}", value)
    with pytest.raises(ImproperlyConfigured, match=said):
        Env()


def test_an_installation_that_lets_nobody_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODFLEET_PASSWORD_SIGN_IN", "0")
    with pytest.raises(ImproperlyConfigured, match="nobody could sign in"):
        Env()
