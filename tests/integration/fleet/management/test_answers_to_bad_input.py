"""Each bad input on the command line gets an answer that names the field and what would be right."""

import io
from pathlib import Path

import pytest
import redis
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError, OperationalError, ProgrammingError

from fleet.models import Fleet
from pods.base.commands import database_advice
from tests.support.factories import a_fleet, an_account

pytestmark = pytest.mark.django_db

# The words, and what the answer must hold.
ANSWERS = (
    ("fleet set emb --max-instances abc", "max_instances: “abc” value must be an integer"),
    ("fleet set emb --max-instances -1", "max_instances: Ensure this value is greater than"),
    ("fleet set emb --max-instances=", "max_instances: “” value must be an integer"),
    ("fleet set emb --max-pod-hours soon", "max_pod_hours: “soon” value must be a float"),
    ("fleet set emb --max-hourly-usd 1,5", "max_hourly_usd: “1,5” value must be a decimal number"),
    ("fleet set emb --max-hourly-usd NaN", "max_hourly_usd: "),
    ("fleet set emb --max-instances x --batch-size y", "batch_size: “y” value must be"),
    (
        "fleet set emb --mode fast",
        "mode: Value 'fast' is not a valid choice; choose one of running,",
    ),
    (
        "fleet set emb --idle-action sleep",
        "idle_action: Value 'sleep' is not a valid choice; choose",
    ),
    (
        "fleet set emb --backlog kafka",
        "choose one of redis_stream, dataset, celery_redis, celery_rabbitmq",
    ),
    ("fleet set emb --backlog-url http://h", "backlog_url: "),
    ("fleet set emb --backlog-url redis://h:99999", "backlog_url: "),
    ("fleet set emb --handler nonsense", "handler: give package.module:function"),
    ("fleet set emb --handler-env nonsense", "--handler-env: 'nonsense' is not JSON"),
    ("fleet set emb --handler-env []", "handler_env: "),
    ("fleet set emb --offer-query {}}", "--offer-query: '{}}' is not JSON"),
    ('fleet set emb --offer-query {"gpu":1}', "offer_query: "),
    (
        "fleet set emb --min-instances 9 --max-instances 2",
        "max_instances: Max pods is 2, below Min pods",
    ),
    ("fleet set emb --tick-seconds abc", "--tick-seconds: 'abc': give 1 to 86400 seconds"),
    ("fleet set emb --tick-seconds 0", "--tick-seconds: '0': give 1 to 86400 seconds"),
    ("fleet set emb --drain-by 9999-12-31T23:59-12:00", "drain_by: 9999-12-31 23:59-12:00 is too"),
    ("fleet what-if emb --from 0001-01-01T00:00+12:00", "is too long ago; give a moment after"),
    ("costs --from 0001-01-01", "--from: 0001-01-01 is more than ten years away; give a day after"),
    ("costs --to 9999-12-31", "--to: 9999-12-31 is more than ten years away; give a day before"),
    ("fleet set emb", "nothing to set"),
    ("fleet set lost --max-instances 1", "no fleet 'lost'; known: emb"),
    ("fleet create Emb", "name: use 1 to 40 of the characters a-z"),
    ("fleet create emb --handler a:b", "name: another fleet has this name"),
    ("fleet create two", "handler: This field cannot be blank"),
    ("fleet create two --handler a:b --account lost", "accounts: no account 'lost'; known: "),
    ("fleet watch emb --seconds 0", "--seconds must be 0.1 to 86400"),
    ("fleet watch emb --seconds nan", "--seconds must be 0.1 to 86400"),
    ("fleet dead list emb --limit abc", "--limit: invalid int value: 'abc'"),
    ("fleet dead retry emb --id 7", "--id: '7' is not a letter"),
    ("fleet enqueue emb missing.txt", "missing.txt: no such file"),
    ("fleet enqueue emb /etc", "/etc is a folder; name its files, such as /etc/*"),
    ("fleet enqueue emb out.parquet", "out.parquet is a folder; name its files, such as out"),
    ("fleet results emb --out out.csv", "--out: out.csv: use FILE.jsonl (a line for each result)"),
    ("fleet results emb --out out", "use FILE.jsonl (a line for each result) or DIR.parquet"),
    ("fleet enqueue emb missing.txt --key a", "belong to --sql"),
    ("fleet enqueue emb --sql x --database-url mysql://h", "must be postgresql://"),
    ("fleet enqueue emb --sql x --database-url postgresql://u:p@ss@h/x", "write @ as %40"),
    ("account set rented --orphans keep", "--orphans: invalid choice: 'keep' (choose from"),
    ("account add new --provider mars", "provider: no provider 'mars'; known: docker, local"),
    ("account set rented --secret-ref nonsense", "the reference must be env:NAME"),
    ("account set rented --options []", "options: "),
    ('account set rented --options {"capacity":"x"}', "capacity is 'x'; give a number"),
    ('account set rented --options {"size":1}', "unknown option 'size'; use capacity, "),
    ('account set rented --disable --options {"size":1}', "options: local: unknown option 'size'"),
    ("alerts snooze --all --hours 1e308", "--hours"),
    ("alerts snooze --all --hours nan", "--hours"),
    ("alerts snooze --all --hours -1", "--hours"),
    ("alerts ack 99999999999999999999", "'99999999999999999999' is not the id of an alert"),
    ("alerts test lost", "no channel 'lost'; known: none"),
    ("offers --fleet lost", "no fleet 'lost'; known: emb"),
    ("emulate runpod --port 99999", "--port: '99999' is not a port; give a number from 0 to 65535"),
    ("up --port 99999", "--port: '99999' is not a port"),
    ("up --flower-port -1", "--flower-port: '-1' is not a port"),
)


@pytest.mark.parametrize(("words", "answer"), ANSWERS, ids=[words for words, _ in ANSWERS])
def test_a_bad_input_is_answered_with_its_field_and_what_would_be_right(
    client: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    answer: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.parquet").mkdir()
    a_fleet(name="emb", stream="tasks", group="tasks")
    an_account("local", name="rented")
    before = Fleet.objects.values().get()
    with pytest.raises(CommandError) as refused:
        call_command(*words.split(" "), stdout=io.StringIO())
    assert answer in str(refused.value)
    assert Fleet.objects.values().get() == before


class Driver(Exception):
    """The error of a database driver, which Django gives as the cause of its own."""


class UndefinedTable(Driver):
    """As psycopg names it."""


@pytest.mark.parametrize(
    ("error", "cause", "answer"),
    [
        (OperationalError("no such table: fleet_fleet"), Driver(), "manage.py prepare"),
        (OperationalError("no such column: x"), Driver(), "manage.py prepare"),
        (ProgrammingError('relation "x" does not exist'), UndefinedTable(), "manage.py prepare"),
        (OperationalError("database is locked"), Driver(), "another process holds"),
        (OperationalError("unable to open database file"), Driver(), "check its path"),
        (OperationalError("connection failed: refused"), Driver(), "check DATABASE_URL"),
        (OperationalError("failed to resolve host 'h': unknown"), Driver(), "check DATABASE_URL"),
    ],
)
def test_a_command_says_what_to_do_about_the_database(
    error: DatabaseError, cause: Exception, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error.__cause__ = cause

    def fail(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(BaseCommand, "execute", fail)
    with pytest.raises(CommandError, match=answer) as refused:
        call_command("fleet", "list")
    assert str(error) in str(refused.value)


def test_an_error_of_the_database_that_no_operator_can_mend_keeps_its_trace() -> None:
    assert database_advice(ProgrammingError("syntax error at or near SELEKT")) is None


def test_an_account_without_a_key_is_not_said_to_have_one(client: redis.Redis) -> None:
    an_account("local", name="here")
    out = io.StringIO()
    call_command("account", "check", "here", stdout=out)
    assert "local answers without a key: 0 machines of ours" in out.getvalue()


def test_an_account_with_a_wrong_option_can_be_disabled(client: redis.Redis) -> None:
    an_account("local", name="here", options={"size": 1})
    call_command("account", "set", "here", "--disable", stdout=io.StringIO())


def test_a_disabled_account_can_get_its_key_later(client: redis.Redis) -> None:
    words = ("account", "add", "later", "--provider", "runpod", "--disable")
    with pytest.raises(CommandError, match=r"options: .*unknown option 'size'"):
        call_command(*words, "--options", '{"size": 1}', stdout=io.StringIO())
    call_command(*words, stdout=io.StringIO())
