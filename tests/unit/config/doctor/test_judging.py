"""Which facts the doctor calls a fault, and that the documentation explains each code."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.doctor import judging
from config.doctor.facts import (
    AccountFacts,
    DatabaseFacts,
    Facts,
    ImageFacts,
    MachineFacts,
    QueueFacts,
    RedisFacts,
    Refusal,
    RowFacts,
)
from config.doctor.findings import Code, Level, as_json, as_text, error, exit_status, warning
from config.env import ROOT
from pods.providers.images import Found

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
PAGE = (ROOT / "docs" / "reference" / "doctor.md").read_text()
MACHINE = MachineFacts(python=(3, 12), folder="/data", free_bytes=10 * 2**30)
DATABASE = DatabaseFacts(clock_ahead=timedelta(seconds=1))
REDIS = RedisFacts(
    version=(8, 0), eviction_policy="noeviction", keeps_data=True, used_share=0.5,
    may_make_users=True, clock_ahead=timedelta(seconds=-1),
)  # fmt: skip
ROWS = RowFacts(
    now=NOW, beat_last_sent=NOW - timedelta(seconds=3), accounts=[AccountFacts(name="a")]
)
QUEUES = [QueueFacts(name="control", waiting=1, oldest_seconds=2.0, has_worker=True)]
WELL = Facts(machine=MACHINE, database=DATABASE, redis=REDIS, rows=ROWS, queues=QUEUES)


def of_machine(**values: Any) -> Facts:
    return replace(WELL, machine=replace(MACHINE, **values))


def of_database(**values: Any) -> Facts:
    return replace(WELL, database=replace(DATABASE, **values))


def of_redis(**values: Any) -> Facts:
    return replace(WELL, redis=replace(REDIS, **values))


def of_rows(**values: Any) -> Facts:
    return replace(WELL, rows=replace(ROWS, **values))


def of_queue(**values: Any) -> Facts:
    return replace(WELL, queues=[replace(QUEUES[0], **values)])


def of_image(found: Found) -> Facts:
    image = ImageFacts(
        image="ghcr.io/you/worker:1",
        account="a",
        found=found,
        refusal="it refuses the login",
        says="answered 500",
    )
    return replace(WELL, images=[image])


def of_account(**values: Any) -> Facts:
    return of_rows(accounts=[replace(ROWS.accounts[0], **values)])


ERROR, WARNING = Level.ERROR, Level.WARNING
BROKEN: list[tuple[Facts, Code, Level, str]] = [
    (of_machine(python=(3, 10)), Code.PYTHON_UNSUPPORTED, WARNING, "Python 3.10"),
    (of_machine(python=(3, 14)), Code.PYTHON_UNSUPPORTED, WARNING, "Python 3.14"),
    (of_machine(unusable="Read-only file system"), Code.FOLDER_UNUSABLE, ERROR, "Read-only"),
    (of_machine(open_to_others=True), Code.FOLDER_OPEN, WARNING, "/data"),
    (of_machine(free_bytes=100 * 2**20), Code.DISK_FULL, ERROR, "100 MB left"),
    (of_machine(free_bytes=2**30), Code.DISK_LOW, WARNING, "1,024 MB left"),
    (of_machine(secret_length=12), Code.SECRET_SHORT, WARNING, "12 characters"),
    (of_machine(taken_ports=[8000]), Code.PORT_TAKEN, WARNING, "port 8000"),
    (of_database(unreachable="refused"), Code.DATABASE_UNREACHABLE, ERROR, "refused"),
    (
        of_database(file="/data/x.sqlite3", unreachable="malformed"),
        Code.DATABASE_UNREACHABLE, ERROR, "/data/x.sqlite3 cannot be used: malformed",
    ),
    (of_database(missing_migrations=1), Code.MIGRATIONS_MISSING, ERROR, "1 migration of"),
    (of_database(unknown_migrations=["fleet.0099"]), Code.MIGRATIONS_NEWER, ERROR, "fleet.0099"),
    (of_database(clock_ahead=timedelta(minutes=5)), Code.DATABASE_CLOCK, ERROR, "5 min ahead of"),
    (of_redis(refusal=Refusal.NO_ANSWER, said="refused"), Code.REDIS_UNREACHABLE, ERROR, "refused"),
    (of_redis(refusal=Refusal.PASSWORD, said="WRONG"), Code.REDIS_PASSWORD, ERROR, "WRONG"),
    (of_redis(refusal=Refusal.COMMAND, said="DB index"), Code.REDIS_REFUSES, ERROR, "DB index"),
    (replace(WELL, bad_authority="X names /ca"), Code.REDIS_AUTHORITY, ERROR, "X names /ca"),
    (replace(WELL, bad_provider="no answer"), Code.OIDC_UNUSABLE, ERROR, "no answer"),
    (of_redis(refusal=Refusal.CERTIFICATE, said="own"), Code.REDIS_CERTIFICATE, ERROR, "own"),
    (of_redis(version=(6, 2)), Code.REDIS_OLD, ERROR, "Redis 6.2"),
    (of_redis(eviction_policy="allkeys-lru"), Code.REDIS_EVICTS, ERROR, "allkeys-lru"),
    (of_redis(is_replica=True), Code.REDIS_REPLICA, ERROR, "replica"),
    (of_redis(keeps_data=False), Code.REDIS_FORGETS, WARNING, "restart"),
    (of_redis(used_share=0.95), Code.REDIS_FULL, ERROR, "95%"),
    (of_redis(may_make_users=False), Code.REDIS_NO_USERS, ERROR, "make users"),
    (of_redis(clock_ahead=timedelta(hours=-1)), Code.REDIS_CLOCK, ERROR, "1 h behind"),
    (replace(WELL, redis_verified=False), Code.REDIS_UNVERIFIED, WARNING, "ssl_cert_reqs"),
    (of_rows(beat_last_sent=None), Code.BEAT_SILENT, ERROR, "never sent"),
    (of_rows(beat_last_sent=NOW - timedelta(hours=2)), Code.BEAT_SILENT, ERROR, "for 2 h"),
    (of_rows(beat_last_sent=NOW + timedelta(hours=2)), Code.BEAT_AHEAD, ERROR, "2 h in the future"),
    (of_rows(undecided=2), Code.FLEETS_UNDECIDED, ERROR, "2 fleets"),
    (of_rows(lost_secrets=["account a"]), Code.KEY_WRONG, ERROR, "account a"),
    (of_account(key_problem="env:KEY is empty"), Code.ACCOUNT_KEY, ERROR, "env:KEY is empty"),
    (of_image(Found.NO), Code.IMAGE_MISSING, ERROR, "ghcr.io has no image ghcr.io/you/worker:1"),
    (of_image(Found.REFUSED), Code.IMAGE_REFUSED, ERROR, "it refuses the login"),
    (of_image(Found.UNKNOWN), Code.IMAGE_NOT_ASKED, WARNING, "answered 500"),
    (of_account(refused="runpod refuses it"), Code.ACCOUNT_REFUSED, ERROR, "runpod refuses it"),
    (of_account(not_asked="no answer"), Code.ACCOUNT_NOT_ASKED, WARNING, "no answer"),
    (of_account(unused_because="it failed"), Code.ACCOUNT_PAUSED, WARNING, "it failed"),
    (of_rows(unreachable={"emb": "it has no TLS"}), Code.PODS_CANNOT_REACH_REDIS, ERROR, "no TLS"),
    (of_queue(has_worker=False), Code.WORKERS_MISSING, ERROR, "queue control"),
    (of_queue(oldest_seconds=300.0), Code.QUEUE_LATE, WARNING, "5 min"),
    (replace(WELL, stack_stopped=True), Code.STACK_STOPPED, WARNING, "does not run"),
    (replace(WELL, slow={"Redis": 12.0}), Code.PROBE_SLOW, ERROR, "Redis did not end within 12 s"),
    (replace(WELL, failed={"the rows": "KeyError"}), Code.PROBE_FAILED, ERROR, "KeyError"),
]  # fmt: skip


def test_a_good_installation_has_no_finding() -> None:
    assert judging.judge(WELL) == []


@pytest.mark.parametrize(
    ("seen", "code", "level", "cause"),
    BROKEN,
    ids=[f"{code}-{cause}" for _, code, _, cause in BROKEN],
)
def test_a_broken_part_has_its_code_its_cause_and_a_remedy(
    seen: Facts, code: Code, level: Level, cause: str
) -> None:
    [found] = judging.judge(seen)
    assert (found.code, found.level) == (code, level)
    assert cause in found.cause
    assert found.remedy


def test_each_code_is_found_somewhere() -> None:
    found = {code for _, code, _, _ in BROKEN} | {judging.settings_wrong("x").code}
    assert found == {*Code}


def test_the_page_explains_each_code_with_its_level() -> None:
    rows = dict(
        re.findall(
            r"^\| `([a-z-]+)` \| (error|warning) \| \S.{20,} \| \S.{20,} \|$", PAGE, re.MULTILINE
        )
    )
    known = {code.value: level.value for _, code, level, _ in BROKEN}
    assert rows == {**known, Code.SETTING_WRONG.value: "error"}


def test_what_could_not_be_seen_is_no_fault_of_its_own() -> None:
    assert judging.judge(Facts()) == []


def test_one_fault_hides_no_other() -> None:
    seen = replace(
        of_redis(refusal=Refusal.PASSWORD),
        database=replace(DATABASE, unreachable="refused"),
        machine=replace(MACHINE, open_to_others=True),
        rows=None,
        queues=None,
    )
    assert [found.code for found in judging.judge(seen)] == [
        Code.FOLDER_OPEN, Code.DATABASE_UNREACHABLE, Code.REDIS_PASSWORD,
    ]  # fmt: skip


def test_a_stack_that_does_not_run_is_one_finding() -> None:
    stopped = replace(of_rows(beat_last_sent=None, undecided=3), stack_stopped=True, redis=None)
    assert [found.code for found in judging.judge(stopped)] == [Code.STACK_STOPPED]


def test_pods_with_the_managers_password_need_no_users() -> None:
    assert judging.judge(replace(of_redis(may_make_users=False), users_wanted=False)) == []


@given(seconds=st.integers(-40, 40), of=st.sampled_from([of_redis, of_database]))
def test_clocks_may_differ_by_half_a_minute(seconds: int, of: Callable[..., Facts]) -> None:
    found = judging.judge(of(clock_ahead=timedelta(seconds=seconds)))
    assert bool(found) == (abs(seconds) > 30)


def test_the_exit_status_says_how_bad_it_is() -> None:
    mild, bad = warning(Code.DISK_LOW, "c", "r"), error(Code.DISK_FULL, "c", "r")
    assert [exit_status(found) for found in ([], [mild], [mild, bad])] == [0, 1, 2]


def test_errors_are_shown_first_and_json_has_every_field() -> None:
    found = [
        warning(Code.DISK_LOW, "little room", "free"),
        error(Code.DISK_FULL, "no room", "free"),
    ]
    assert as_text(found).index("no room") < as_text(found).index("little room")
    assert json.loads(as_json(found, "1.2.3")) == {
        "version": "1.2.3",
        "findings": [
            {"code": "disk-low", "level": "warning", "cause": "little room", "remedy": "free"},
            {"code": "disk-full", "level": "error", "cause": "no room", "remedy": "free"},
        ],
    }
