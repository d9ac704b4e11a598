"""The doctor on broken installations: real servers, databases and folders."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from django_celery_beat.models import PeriodicTask

from config.doctor import examining, judging, probing, row_probing
from config.doctor.facts import Facts, RedisFacts
from config.doctor.findings import Code
from config.env import ROOT
from pods.base import sealing
from pods.base.clock import utcnow
from pods.providers.images import Found
from tests.support.factories import a_fleet, an_account
from tests.support.image_registry import PASSWORD as PASSWORD_OF_IMAGES
from tests.support.image_registry import USER, image_registry
from tests.support.tls_server import tls_server

PASSWORD = "p@ss/w#rd:%"


def codes(seen: Facts) -> set[Code]:
    return {found.code for found in judging.judge(seen)}


def codes_of_redis(url: str) -> set[Code]:
    return codes(Facts(redis=probing.redis_server(url)))


def as_user(redis_url: str, user: str) -> str:
    parts = urlsplit(redis_url)
    return parts._replace(netloc=f"{user}@{parts.hostname}:{parts.port}").geturl()


@pytest.fixture
def admin(redis_url: str) -> Iterator["redis.Redis"]:
    """The Valkey of the test run, whose settings are put back."""
    client = redis.Redis.from_url(redis_url, protocol=2, decode_responses=True)
    before = client.config_get("maxmemory*")
    yield client
    client.config_set("maxmemory-policy", str(before["maxmemory-policy"]))
    client.config_set("maxmemory", str(before["maxmemory"]))
    client.close()


def doctor(tmp_path: Path, **environ: str) -> tuple[int, dict[str, Any], str]:
    """The exit status, the findings by code and the errors of `doctor --json` there."""
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=ROOT,
        env={**os.environ, "PODFLEET_VAR_DIR": str(tmp_path / "var"), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, {found["code"]: found for found in findings}, done.stderr


def test_without_tables_and_redis_both_are_named(tmp_path: Path) -> None:
    status, found, said = doctor(
        tmp_path,
        DATABASE_URL=f"sqlite:///{tmp_path}/new.sqlite3",
        REDIS_URL="redis://:hunter2@127.0.0.1:1/0",
    )
    assert (status, said) == (2, "")
    assert {"migrations-missing", "redis-unreachable"} <= found.keys()
    assert "prepare" in found["migrations-missing"]["remedy"]
    assert "hunter2" not in str(found)


def test_a_database_that_does_not_answer_is_named_beside_a_stopped_stack(tmp_path: Path) -> None:
    status, found, said = doctor(
        tmp_path, DATABASE_URL="postgres://u:hunter2@127.0.0.1:1/x", REDIS_URL=""
    )
    assert (status, said) == (2, "")
    assert {"database-unreachable", "stack-stopped"} <= found.keys()
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("PODFLEET_WEB_PORT", "99999", "setting-wrong"),
        ("PODFLEET_VAR_DIR", "{here}/file/var", "folder-unusable"),
    ],
)
def test_a_start_that_fails_is_a_finding_too(
    name: str, value: str, code: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    status, found, said = doctor(tmp_path, **{name: value.format(here=tmp_path)})
    assert (status, said) == (2, "")
    assert [*found] == [code]


@pytest.mark.parametrize("folder", ["file", "file/var"])
def test_a_data_folder_that_is_a_file_is_named_and_not_a_draft_in_it(
    folder: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    _, found, _ = doctor(tmp_path, PODFLEET_VAR_DIR=str(tmp_path / folder))
    cause = found["folder-unusable"]["cause"]
    named = f"the data folder {tmp_path / folder} cannot be written: {tmp_path / 'file'} is a file"
    assert cause == named
    assert "PODFLEET_HOME" in found["folder-unusable"]["remedy"]


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_missing_file_of_the_authority_is_named_with_its_setting(
    scheme: str, tmp_path: Path
) -> None:
    status, found, _ = doctor(
        tmp_path, REDIS_URL=f"{scheme}://127.0.0.1:1/0", PODFLEET_REDIS_CA="/nope.pem"
    )
    assert status == 2
    cause = found["redis-authority"]["cause"]
    assert (
        cause
        == "PODFLEET_REDIS_CA names /nope.pem, which cannot be read: No such file or directory"
    )
    assert ("redis-unreachable" in found) == (scheme == "redis")  # with TLS nothing could be tried


def test_a_file_without_a_certificate_and_the_word_of_an_address(tmp_path: Path) -> None:
    (empty := tmp_path / "empty.pem").touch()
    address = f"rediss://host:6380/0?ssl_ca_certs={empty}"
    named = row_probing.authorities(address, "")
    assert probing.bad_authority(named) == (
        f"ssl_ca_certs in REDIS_URL names {empty}, which has no certificate"
    )
    # Our own setting has put its file into the address.
    assert row_probing.authorities(address, str(empty)) == {"PODFLEET_REDIS_CA": str(empty)}
    with tls_server(tmp_path) as server:
        assert probing.bad_authority({"PODFLEET_REDIS_CA": str(server.certificate)}) == ""


def test_a_database_number_that_redis_does_not_have_is_an_answer(redis_url: str) -> None:
    assert codes_of_redis(urlsplit(redis_url)._replace(path="/9999").geturl()) == {
        Code.REDIS_REFUSES
    }


def test_a_server_with_tls_at_a_plain_address_advises_the_other_scheme(tmp_path: Path) -> None:
    with tls_server(tmp_path) as server:
        seen = probing.redis_server(f"redis://127.0.0.1:{server.port}/0")
    [found] = judging.judge(Facts(redis=seen))
    assert found.code is Code.REDIS_UNREACHABLE
    assert "rediss://" in found.remedy


@pytest.mark.parametrize("content", [None, b"no database" * 100])
def test_a_damaged_file_of_sqlite_and_a_missing_folder_have_no_server(
    content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / ("x.sqlite3" if content else "none/x.sqlite3")
    if content:
        file.write_bytes(content)
    _, found, _ = doctor(tmp_path, DATABASE_URL=f"sqlite:///{file}", REDIS_URL="")
    assert str(file) in found["database-unreachable"]["cause"]
    remedy = found["database-unreachable"]["remedy"]
    assert "docs/howto/backup.md" in remedy
    assert "server" not in remedy


def test_a_folder_that_cannot_be_written_and_one_that_others_read(
    settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    settings.VAR_DIR = tmp_path / "open"
    assert codes(Facts(machine=probing.machine())) >= {Code.FOLDER_OPEN}
    settings.VAR_DIR = tmp_path / "none"
    assert codes(Facts(machine=probing.machine())) >= {Code.FOLDER_UNUSABLE}


def test_a_good_redis_has_no_finding(admin: "redis.Redis", redis_url: str) -> None:
    assert codes_of_redis(redis_url) <= {Code.REDIS_FORGETS}


def test_a_redis_that_may_delete_keys_and_is_nearly_full(
    admin: "redis.Redis", redis_url: str
) -> None:
    used = int(admin.info("memory")["used_memory"])
    admin.config_set("maxmemory", int(used * 1.02))
    admin.config_set("maxmemory-policy", "allkeys-lru")
    assert codes_of_redis(redis_url) >= {Code.REDIS_EVICTS, Code.REDIS_FULL}


def test_a_wrong_password_is_named_and_not_repeated(redis_url: str) -> None:
    seen = probing.redis_server(as_user(redis_url, "nobody:hunter2"))
    assert codes(Facts(redis=seen)) == {Code.REDIS_PASSWORD}
    assert "hunter2" not in seen.said


def test_a_user_who_may_make_no_users_is_named(admin: "redis.Redis", redis_url: str) -> None:
    admin.acl_setuser(
        "limited", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], categories=["+@all"],
        commands=["-acl|setuser"],
    )  # fmt: skip
    limited = as_user(redis_url, "limited:p%40ss%2Fw%23rd%3A%25")
    assert codes_of_redis(limited) >= {Code.REDIS_NO_USERS}
    assert admin.acl_users() == ["default", "limited"]


def test_a_server_without_tls_and_one_with_an_unknown_ca(redis_url: str, tmp_path: Path) -> None:
    plain = urlsplit(redis_url)._replace(scheme="rediss").geturl()
    assert codes_of_redis(plain) == {Code.REDIS_UNREACHABLE}  # it waits for the rest of a command
    with tls_server(tmp_path) as server:
        address = f"rediss://:hunter2@127.0.0.1:{server.port}/0"
        assert codes_of_redis(address) == {Code.REDIS_CERTIFICATE}
        assert server.received == []
        # With its CA the connection is made; then this server refuses the password.
        trusted = f"{address}?ssl_ca_certs={server.certificate}"
        assert codes_of_redis(trusted) == {Code.REDIS_PASSWORD}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"redis_version": "6.2.14"}, Code.REDIS_OLD),
        ({"redis_version": "8.0.1", "role": "slave"}, Code.REDIS_REPLICA),
        (
            {"redis_version": "7.2.4", "valkey_version": "8.1.0", "aof_enabled": 0},
            Code.REDIS_FORGETS,
        ),
    ],
)
def test_what_a_server_says_of_itself_is_read(asked: dict[str, Any], code: Code) -> None:
    facts = probing.redis_facts(asked, clock_ahead=None, may_make_users=None)
    assert codes(Facts(redis=facts)) == {code}


def test_a_managed_server_may_say_nothing_of_itself() -> None:
    facts = probing.redis_facts({}, clock_ahead=None, may_make_users=None)
    assert facts == RedisFacts()


def test_queues_without_a_worker_are_named(redis_url: str) -> None:
    found = judging.judge(Facts(queues=probing.queues()))
    assert [f.code for f in found] == [Code.WORKERS_MISSING] * 3
    assert "control" in found[0].cause


@pytest.mark.django_db
def test_a_beat_that_has_ended_is_named() -> None:
    PeriodicTask.objects.update(last_run_at=utcnow() - timedelta(hours=2))
    seen = row_probing.rows(online=False)
    [found] = [f for f in judging.judge(Facts(rows=seen)) if f.code is Code.BEAT_SILENT]
    assert "2 h" in found.cause
    PeriodicTask.objects.update(last_run_at=utcnow())
    assert codes(Facts(rows=row_probing.rows(online=False))) == set()


@pytest.mark.django_db
def test_a_stored_key_that_no_field_key_opens_is_named(settings: Any) -> None:
    PeriodicTask.objects.update(last_run_at=utcnow())
    an_account("runpod", name="rp", sealed_secret=sealing.seal("a key"))
    assert codes(Facts(rows=row_probing.rows(online=False))) == set()
    settings.FIELD_KEYS = ("another key",)
    found = judging.judge(Facts(rows=row_probing.rows(online=False)))
    assert {f.code for f in found} == {Code.KEY_WRONG, Code.ACCOUNT_KEY}
    assert "account rp" in found[0].cause


@pytest.mark.django_db
def test_an_accounts_key_is_tried_only_online(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RP_KEY", "hunter2")
    unreachable = {"base_url": "http://127.0.0.1:1"}
    account = an_account("runpod", name="rp", secret_ref="env:RP_KEY", options=unreachable)
    assert row_probing.account_facts(account, online=False).refused == ""
    assert row_probing.account_facts(an_account("local"), online=True).refused == ""
    tried = row_probing.account_facts(account, online=True)
    assert (tried.refused, "cannot be asked now" in tried.not_asked) == ("", True)
    assert "hunter2" not in tried.not_asked
    monkeypatch.delenv("RP_KEY")
    assert "env:RP_KEY is empty" in row_probing.account_facts(account, online=True).key_problem


@pytest.mark.django_db
def test_a_redis_that_rented_pods_cannot_use_is_named() -> None:
    PeriodicTask.objects.update(last_run_at=utcnow())
    address = "redis://:hunter2@1.1.1.1:6379/0"
    a_fleet(accounts=[an_account("local", options={"hourly_usd": "0.2"})], backlog_url=address)
    assert row_probing.unreachable_fleets() == {}
    key = sealing.seal("k")
    renting = a_fleet(
        accounts=[an_account("vastai", sealed_secret=key, options={})], backlog_url=address
    )
    found = judging.judge(Facts(rows=row_probing.rows(online=False)))
    [named] = [f for f in found if f.code is Code.PODS_CANNOT_REACH_REDIS]
    assert renting.name in named.cause
    assert "has no TLS" in named.cause
    assert "hunter2" not in str(found)


def test_a_probe_that_hangs_or_breaks_hides_no_other() -> None:
    made, never = examining.Examination(), threading.Event()
    hangs = examining.Probe("Redis", never.wait, seconds=0.05)
    breaks = examining.Probe("the rows", lambda: 1 // 0, seconds=5)
    works = examining.Probe("the machine", lambda: "seen", seconds=5)
    assert (made.result(hangs), made.result(breaks)) == (None, None)
    assert made.result(works) == "seen"
    assert (made.slow, made.failed) == ({"Redis": 0.05}, {"the rows": "ZeroDivisionError"})
    never.set()


@pytest.mark.django_db
def test_images_are_asked_for_with_the_login_of_the_account_that_pulls_them() -> None:
    with image_registry() as registry:
        known = an_account(
            "runpod", name="main", options={}, registry_host=registry.host, registry_user=USER
        )
        known.sealed_registry_password = sealing.seal(PASSWORD_OF_IMAGES)
        known.save()
        other = an_account("vastai", name="other", options={})
        private, missing = registry.image("team/private:1"), registry.image("team/gone:1")
        a_fleet(name="a", image=private, accounts=[known, other, an_account("docker")])
        a_fleet(name="b", image=missing, accounts=[known])
        a_fleet(name="c", image=private, accounts=[known])  # the same question as for a
        a_fleet(name="d", image="", accounts=[an_account("local")])
        looks = row_probing.images()
    said = {(look.account, look.image): look.found for look in looks}
    assert said == {
        ("main", private): Found.YES,
        ("other", private): Found.REFUSED,
        ("main", missing): Found.NO,
    }
    assert len(looks) == 3
    (refusal,) = {look.refusal for look in looks if look.found is Found.REFUSED}
    assert "account other has none there" in refusal
