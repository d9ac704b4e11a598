"""The way of a fleet's secrets from an operator to its pods, and who cannot read them."""

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from fleet import archiving, keeping_secrets, operating
from fleet.alerts import addresses, delivering
from fleet.datasets import access
from fleet.models import Channel, Fleet, Secret
from fleet.secrets import channel
from fleet.tick import ticking
from pods.accounts import connecting
from pods.agent.protocol import Keys
from pods.agent_redis import redis_users
from pods.base import sealing
from pods.base.clock import utcnow
from pods.models import Pod
from pods.providers.base import PodSpec
from pods.providers.local.provider import LocalProvider
from pods.providers.local.provider import connect as local_provider
from pods.states import READY
from tests.support.as_pods import as_pod, refused
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.fixtures import client as client
from tests.support.fleet_command import run
from tests.support.rigs.agent_rig import HANDLERS
from tests.support.waiting import until

pytestmark = pytest.mark.django_db
VALUE = "hf_a-token-that-nobody-sees"


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    made: Fleet = a_fleet(name="emb", stream="texts", group="texts")
    operating.make_group(made)
    return made


def set_one(fleet: Fleet, name: str = "HF_TOKEN", value: str = VALUE) -> None:
    assert keeping_secrets.set_secret(fleet, name, value, by="ann")


def in_redis(client: "redis.Redis", fleet: str = "emb") -> dict[str, str]:
    raw: Any = client.hgetall(Keys(fleet).secrets)
    return {name.decode(): value.decode() for name, value in raw.items()}


def test_only_the_fleets_own_pods_read_its_secrets_and_none_writes_them(fleet: Fleet) -> None:
    other = a_fleet(name="cap", stream="images", group="images")
    set_one(fleet)
    set_one(other, value="of-the-other")
    own, stranger = as_pod(a_pod(fleet, READY)), as_pod(a_pod(other, READY))
    key = Keys("emb").secrets
    found: Any = own.hgetall(key)
    assert found[b"env:HF_TOKEN"] == VALUE.encode()
    script = str(own.script_load("return redis.call('HGETALL', KEYS[1])"))
    writing = str(own.script_load("return redis.call('HSET', KEYS[1], 'env:A', 'b')"))
    assert own.evalsha(script, 1, key)
    for words in (
        ("HSET", key, "env:A", "b"), ("DEL", key), ("PEXPIRE", key, "1"), ("HDEL", key, "version"),
        ("SET", key, "x"), ("RENAME", key, "texts"), ("HINCRBY", key, "version", "1"),
        ("COPY", key, f"{key}2"), ("XADD", key, "*", "a", "b"),
    ):  # fmt: skip
        assert refused(own, *words), words
    with pytest.raises(redis.ResponseError):
        own.evalsha(writing, 1, key)
    for words in (
        ("HGETALL", key),
        ("HGET", key, "version"),
        ("GET", key),
        ("EVALSHA", script, "1", key),
    ):
        assert refused(stranger, *words), words
    assert own.hgetall(key) == found


def test_a_pod_from_before_an_upgrade_gets_the_right_with_the_next_change(
    fleet: Fleet, client: "redis.Redis"
) -> None:
    pod = a_pod(fleet, READY)
    address = redis_users.pod_address(pod)
    before = [rule for rule in redis_users.rules(pod) if Keys("emb").secrets not in rule]
    client.execute_command("ACL", "SETUSER", pod.name, *before)
    theirs = redis.Redis.from_url(address, protocol=2)
    assert refused(theirs, "HGETALL", Keys("emb").secrets)
    set_one(fleet)
    assert theirs.hgetall(Keys("emb").secrets)


def test_a_fleet_without_secrets_needs_no_right_to_write_on_its_server(
    fleet: Fleet, client: "redis.Redis"
) -> None:
    client.execute_command(
        "ACL", "SETUSER", "reader", "reset", "on", ">word", "~*", "+@read", "+ping", "+client"
    )
    where = client.connection_pool.connection_kwargs
    reads = f"redis://reader:word@{where['host']}:{where['port']}/{where.get('db', 0)}"
    Fleet.objects.filter(pk=fleet.pk).update(backlog_url=reads)
    fleet.refresh_from_db()
    channel.keep(fleet)
    assert not keeping_secrets.set_secret(fleet, "HF_TOKEN", VALUE, by="ann")


def test_a_secret_is_set_replaced_listed_and_removed(fleet: Fleet, client: "redis.Redis") -> None:
    set_one(fleet)
    first = in_redis(client)
    assert first["env:HF_TOKEN"] == VALUE
    assert 0 < client.ttl(Keys("emb").secrets) <= 3600
    set_one(fleet, value="two")
    set_one(fleet, "DB_PASSWORD", "p\nq")
    now = in_redis(client)
    assert (now["env:HF_TOKEN"], now["env:DB_PASSWORD"]) == ("two", "p\nq")
    assert now["version"] != first["version"]
    shown = run("secret", "list", "emb", "--json")
    assert [row["name"] for row in json.loads(shown)] == ["DB_PASSWORD", "HF_TOKEN"]
    assert json.loads(shown)[0]["set_by"] == "ann"
    run("secret", "remove", "emb", "HF_TOKEN")
    run("secret", "remove", "emb", "DB_PASSWORD")
    assert in_redis(client) == {"version": channel.NONE}
    reasons = list(fleet.history.order_by("pk").values_list("history_change_reason", flat=True))
    assert reasons[-5:-2] == [
        "secret HF_TOKEN set by ann", "secret HF_TOKEN replaced by ann", "secret DB_PASSWORD set by ann",
    ]  # fmt: skip
    assert "secret HF_TOKEN removed by" in reasons[-2]
    assert VALUE not in repr(list(fleet.history.values())) + repr(list(Secret.objects.values()))


def test_a_tick_mends_what_redis_lost_and_else_writes_nothing(
    fleet: Fleet, client: "redis.Redis", settings: Any
) -> None:
    there = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert not keeping_secrets.set_secret(fleet, "HF_TOKEN", VALUE, by="ann")
    settings.REDIS_URL = there
    assert in_redis(client) == {}
    ticking.tick_fleet(fleet.pk)
    assert in_redis(client)["env:HF_TOKEN"] == VALUE
    client.hset(Keys("emb").secrets, "mark", "of the first write")
    ticking.tick_fleet(fleet.pk)
    assert "mark" in in_redis(client)
    client.flushdb()
    ticking.tick_fleet(fleet.pk)
    assert in_redis(client)["env:HF_TOKEN"] == VALUE
    fleet.secrets.all().delete()  # as a removal that is killed before it tells Redis
    ticking.tick_fleet(fleet.pk)
    assert in_redis(client) == {"version": channel.NONE}


def test_a_writer_that_is_late_does_not_bring_an_older_value_back(
    fleet: Fleet, client: "redis.Redis"
) -> None:
    set_one(fleet)
    now = in_redis(client)["version"]
    late = client.eval(
        channel.WRITE,
        1,
        Keys("emb").secrets,
        "another version",
        1000,
        "version",
        "old",
        "env:A",
        "b",
    )
    assert (late, in_redis(client)["version"]) == (0, now)


def test_pods_from_before_a_move_of_the_backlog_have_the_secrets_too(
    fleet: Fleet, client: "redis.Redis", redis_url: str
) -> None:
    elsewhere = redis_url.rpartition("/")[0] + "/7"
    a_pod(fleet, READY, redis_url=elsewhere)
    set_one(fleet)
    moved = redis.Redis.from_url(elsewhere, protocol=2)
    assert in_redis(moved) == in_redis(client)
    Pod.objects.update(state="terminated")
    archiving.archive(fleet, by="ann")
    moved.flushdb()


def test_an_archived_fleet_has_no_secrets_in_redis_until_it_is_back(
    fleet: Fleet, client: "redis.Redis", django_capture_on_commit_callbacks: Any
) -> None:
    set_one(fleet)
    with django_capture_on_commit_callbacks(execute=True):
        archiving.archive(fleet, name="old", by="ann")
    assert in_redis(client) == {}
    with pytest.raises(ValidationError, match="was archived"):
        keeping_secrets.set_secret(fleet, "HF_TOKEN", "x", by="ann")
    with pytest.raises(CommandError, match="was archived"):
        run("secret", "remove", "old", "HF_TOKEN")
    archiving.restore(fleet, name="emb", by="ann")
    ticking.tick_fleet(fleet.pk)
    assert in_redis(client)["env:HF_TOKEN"] == VALUE


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["set", "emb", "HF_TOKEN", VALUE], "never give a value on the command line"),
        (["set", "emb", f"HF_TOKEN={VALUE}"], "never give a value on the command line"),
        (["set", "emb", "HF_TOKEN", "--value", VALUE], "never give a value on the command line"),
        (["set", "emb", "HF_TOKEN", "--stdin", VALUE], "never give a value on the command line"),
        (["set", "emb", "HF_TOKEN", f"--token={VALUE}"], "never give a value on the command line"),
        (["set", "emb", "PATH", "--from-env", "GIVEN"], "PATH is reserved"),
        (["set", "emb", "HF_TOKEN", "--from-env", "NOT_THERE"], "is missing or empty"),
        (["set", "emb", "HF_TOKEN"], "nobody can type the value here"),
        (["set", "nobody", "HF_TOKEN"], "no fleet 'nobody'"),
        (["remove", "emb", "NOT_SET"], "known: none"),
        (["remove", "emb", "A\0"], "known: none"),
        (["remove", "emb"], "KEY is missing"),
    ],
)
def test_what_cannot_be_done_is_said_without_the_value(
    fleet: Fleet, args: list[str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIVEN", VALUE)
    with pytest.raises(CommandError, match=text) as said:
        call_command("fleet", "secret", *args)
    assert VALUE not in str(said.value)
    assert not Secret.objects.exists()


def test_a_value_comes_from_the_environment_or_standard_input(
    fleet: Fleet, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIVEN", "of the environment")
    assert "HF_TOKEN set" in run("secret", "set", "emb", "HF_TOKEN", "--from-env", "GIVEN")
    (tmp_path / "key").write_bytes(b"two\nlines\r\n")
    with (tmp_path / "key").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        run("secret", "set", "emb", "KEY", "--stdin")
    found = in_redis(client)
    assert (found["env:HF_TOKEN"], found["env:KEY"]) == ("of the environment", "two\nlines")


def test_what_is_said_of_a_change_knows_which_keys_a_role_keeps_from_pods(fleet: Fleet) -> None:
    def said(name: str, *, removed: bool = False) -> str:
        return keeping_secrets.effect(fleet, name, removed=removed, there=True)

    to_pods = "each pod takes the change with its next heartbeat"
    assert said("AWS_ACCESS_KEY_ID") == said("HF_TOKEN") == to_pods
    Secret.objects.create(
        fleet=fleet,
        name="AWS_ASSUME_ROLE_ARN",
        sealed_value="x",
        size=1,
        set_at=utcnow(),
        set_by="ann",
    )
    for name in ("AWS_ASSUME_ROLE_ARN", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_STS"):
        assert said(name).startswith("the manager alone uses it, and no pod gets it")
    assert said("HF_TOKEN") == to_pods
    Secret.objects.all().delete()
    own = "each pod takes the fleet's own AWS keys with its next heartbeat"
    assert said("AWS_ASSUME_ROLE_ARN", removed=True) == own


def test_another_field_key_changes_no_version_once_everything_is_encrypted_anew(
    fleet: Fleet, client: "redis.Redis", settings: Any
) -> None:
    set_one(fleet)
    account = an_account("runpod", sealed_secret=sealing.seal("of-the-vendor"))
    delivering.write_channel(Channel(name="pager"), "jsons://ann:word@alerts.example/x")
    old = Channel.objects.get()
    old.sealed_url = old.sealed_url.removeprefix(sealing.PREFIX)  # as an old version stored it
    old.save()
    before = in_redis(client)
    settings.FIELD_KEYS = ("another key", *settings.FIELD_KEYS)
    call_command("reseal")
    call_command("reseal")  # nothing is left to do
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    ticking.tick_fleet(fleet.pk)
    assert in_redis(client) == before
    assert channel.for_pods(fleet) == {"HF_TOKEN": VALUE}
    account.refresh_from_db()
    assert connecting.secret_of(account) == "of-the-vendor"
    assert addresses.unseal(Channel.objects.get().sealed_url).endswith("@alerts.example/x")


def test_a_secret_without_its_key_stays_in_redis_as_it_was_and_is_named(
    fleet: Fleet, client: "redis.Redis", settings: Any
) -> None:
    set_one(fleet)
    before = in_redis(client)
    settings.FIELD_KEYS = ("another key",)
    ticking.tick_fleet(fleet.pk)
    assert in_redis(client) == before
    assert not json.loads(run("secret", "list", "emb", "--json"))[0]["readable"]
    with pytest.raises(CommandError, match="no key of PODFLEET_FIELD_KEYS opens: secret HF_TOKEN"):
        call_command("reseal")
    client.flushdb()
    ticking.tick_fleet(fleet.pk)
    assert in_redis(client) == {}
    set_one(fleet, value="new")
    assert in_redis(client)["env:HF_TOKEN"] == "new"


def test_the_sum_of_all_secrets_has_a_bound(fleet: Fleet) -> None:
    for n in range(15):
        set_one(fleet, f"S{n}", "x" * 65_536)
    set_one(fleet, "S0", "x" * 65_536)
    with pytest.raises(ValidationError, match="at most 1,048,576"):
        set_one(fleet, "S15", "x" * 65_536)
    assert len(channel.for_pods(fleet)) == 15


def test_a_fleet_without_store_credentials_is_told_which_commands_to_give(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "eu-1")
    urls = ["s3://bucket/in/*.parquet", "https://host/file.parquet"]
    assert access.missing(fleet, urls[1:]) == ""
    text = access.missing(fleet, urls)
    assert "fleet secret set emb AWS_ACCESS_KEY_ID --stdin" in text
    assert "fleet secret set emb AWS_SECRET_ACCESS_KEY --stdin" in text
    assert "fleet secret set emb AWS_REGION --from-env AWS_REGION" in text
    set_one(fleet, "AWS_ACCESS_KEY_ID", "key")
    assert "AWS_ACCESS_KEY_ID" not in access.missing(fleet, urls)
    set_one(fleet, "AWS_SECRET_ACCESS_KEY", "secret")
    assert access.missing(fleet, urls) == ""


@pytest.mark.one_database
def test_a_spawned_pod_shows_its_secret_to_nobody(
    fleet: Fleet, client: "redis.Redis", tmp_path: Path
) -> None:
    """The environment that a vendor gets and shows, `ps`, /proc, the machine's folder and its log."""
    set_one(fleet)
    Fleet.objects.filter(pk=fleet.pk).update(handler="secret_handlers:leaks", max_deliveries=1)
    fleet.refresh_from_db()
    pod = a_pod(fleet, READY)
    spec: PodSpec = connecting.spec(pod, redis_url=redis_users.pod_address(pod))
    assert VALUE not in repr(spec.env)
    options = {"root": str(tmp_path / "pods"), "python_path": str(HANDLERS)}
    provider: LocalProvider = local_provider(options=options, secret=None)
    machine = provider.create(spec, token=pod.client_token.hex)
    try:
        client.xadd("texts", {"payload": "x"})
        until(lambda: client.xlen("texts:dead") == 1)
        seen = [repr(client.xrange("texts:dead")), provider.logs(machine.external_id)]
        for process in psutil.process_iter():
            try:
                seen += [*process.cmdline(), repr(process.environ())]
            except psutil.Error:
                continue
        seen += [
            f.read_text(errors="replace") for f in (tmp_path / "pods").rglob("*") if f.is_file()
        ]
        assert "cannot log in with ***" in seen[0]
        assert "the token is ***" in seen[1]
        assert not [text for text in seen if VALUE in text]
    finally:
        provider.destroy(machine.external_id)
