"""A name that a fleet gives up, or takes over, moves no rows and no secrets to another fleet."""

from pathlib import Path

import pytest
import redis
from django.core.exceptions import ValidationError

from fleet import archiving, keeping_secrets, operating
from fleet.datasets.standing import rows_key
from fleet.models import Fleet
from pods.agent.protocol import Keys
from pods.models import Pod
from pods.states import READY, TERMINATED
from tests.support.datasets import FLEET, GROUP, STREAM, write_parquet
from tests.support.factories import a_fleet, a_pod
from tests.support.fleet_command import run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fed(fleet: Fleet, tmp_path: Path) -> Fleet:
    write_parquet(tmp_path / "in" / "a.parquet", 3000)
    feed(FLEET, tmp_path, "out")
    return fleet


def feed(name: str, folder: Path, sink: str) -> None:
    run("feed", name, f"file://{folder}/in", "--into", f"file://{folder}/{sink}")


def again(name: str) -> Fleet:
    return Fleet.objects.select_related("schedule__interval").get(name=name)


def test_a_fleet_with_pods_keeps_its_name(fed: Fleet) -> None:
    pod = a_pod(fed, READY)
    with pytest.raises(ValidationError, match="rename it after its last pod has ended"):
        operating.edit(again(FLEET), {"name": "other"}, by="ann")
    archiving.archive(again(FLEET), when_empty=True, by="ann")
    with pytest.raises(ValidationError, match="rename it after its last pod has ended"):
        archiving.restore(again(FLEET), name="other", by="ann")
    Pod.objects.filter(pk=pod.pk).update(state=TERMINATED.value)
    operating.edit(again(FLEET), {"name": "other"}, by="ann")
    assert again("other").pk == fed.pk


@pytest.mark.parametrize("how", ["edit", "archive"])
def test_the_rows_of_a_fleet_follow_its_new_name_and_its_secrets_leave_the_old_one(
    fed: Fleet, client: "redis.Redis", how: str
) -> None:
    keeping_secrets.set_secret(again(FLEET), "TOKEN", "hidden", by="ann")
    before = client.hgetall(rows_key(FLEET))
    assert before[b"planned"] == b"3000"
    if how == "edit":
        operating.edit(again(FLEET), {"name": "other"}, by="ann")
    else:
        archiving.archive(again(FLEET), name="other", by="ann")
        archiving.restore(again("other"), by="ann")
    assert client.hgetall(rows_key("other")) == before
    assert not client.exists(rows_key(FLEET), Keys(FLEET).secrets)


def test_a_new_fleet_begins_without_the_counts_and_the_schema_of_one_that_had_its_name(
    fed: Fleet, client: "redis.Redis", tmp_path: Path
) -> None:
    client.hset(rows_key(FLEET), mapping={"done": 2000, "failed": 900, "schema": b"of another"})
    archiving.archive(again(FLEET), by="ann")
    archiving.delete(again(FLEET), by="ann")
    client.delete(STREAM)
    a_fleet(name=FLEET, backlog="dataset", stream=STREAM, group=GROUP)
    feed(FLEET, tmp_path, "out2")
    found = client.hgetall(rows_key(FLEET))
    assert (found[b"planned"], found.get(b"done", b"0")) == (b"3000", b"0")
    assert found.get(b"failed", b"0") == b"0"
    assert b"schema" not in found
