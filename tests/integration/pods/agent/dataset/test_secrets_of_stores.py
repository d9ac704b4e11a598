"""Store credentials that reach an agent as the fleet's secrets, on a real S3 server."""

import os
from typing import Any

import psutil
import pytest

from pods.agent.dataset import credentials, stores
from pods.agent.protocol import SECRET_PREFIX, SECRETS_VERSION
from tests.support.object_store import READER_KEY, READER_SECRET, ObjectStore
from tests.support.rigs.dataset_rig import Dataset, texts


def put(dataset: Dataset, version: str, values: dict[str, str]) -> None:
    fields: Any = {SECRET_PREFIX + name: value for name, value in values.items()}
    key = dataset.backlog.keys.secrets
    dataset.backlog.client.hset(key, mapping={**fields, SECRETS_VERSION: version})


def a_dataset(backlog, agents, s3: ObjectStore, monkeypatch) -> Dataset:
    """One whose agents find no credentials in their environment."""
    for name in s3.environment():
        monkeypatch.delenv(name)
    dataset = Dataset(backlog, agents, s3.url)
    dataset.input = stores.place(dataset.input.url, s3.environment())
    dataset.sink = stores.place(dataset.sink.url, s3.environment())
    return dataset


def note(dataset: Dataset) -> str:
    return getattr(dataset.backlog.heartbeat("pod-a"), "note", "")


def test_a_wrong_key_is_mended_without_a_restart_and_costs_no_try(
    backlog, agents, s3, until, monkeypatch
):
    dataset = a_dataset(backlog, agents, s3, monkeypatch)
    right = dict(s3.environment())
    put(dataset, "v1", {**right, "AWS_SECRET_ACCESS_KEY": "wrong-secret-key"})
    dataset.feed(dataset.texts(texts(50)))
    agent = dataset.start("pod-a", max_deliveries=1)
    until(lambda: "does not accept the credentials" in note(dataset))
    assert "wrong-secret-key" not in note(dataset)
    handler = [child.pid for child in psutil.Process(agent.pid).children()]
    put(dataset, "v2", right)
    dataset.until_drained(1)
    dataset.assert_each_row_once(f"t.parquet-{n}" for n in range(50))
    until(lambda: note(dataset) == "")
    assert dataset.backlog.dead() == []
    # the agent reads and writes the stores, so the handler's process went on
    assert [child.pid for child in psutil.Process(agent.pid).children()] == handler


def test_a_key_that_changes_while_ranges_are_worked_on_is_used_for_the_rest(
    backlog, agents, s3, until, monkeypatch
):
    dataset = a_dataset(backlog, agents, s3, monkeypatch)
    right = dict(s3.environment())
    reader = {**right, "AWS_ACCESS_KEY_ID": READER_KEY, "AWS_SECRET_ACCESS_KEY": READER_SECRET}
    put(dataset, "v1", reader)
    dataset.feed(*[dataset.texts(texts(40), name=f"{n}.parquet") for n in range(3)])
    dataset.start("pod-a", "slow", env={"PACE_SECONDS": "0.02"})
    until(lambda: getattr(dataset.backlog.heartbeat("pod-a"), "done", 0) > 5)
    put(dataset, "v2", right)  # before a part is written, which the reader may not
    dataset.until_drained(3)
    dataset.assert_each_row_once(f"{f}.parquet-{n}" for f in range(3) for n in range(40))


def test_the_keys_of_a_fleet_replace_those_of_the_environment_as_a_whole(s3, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-key")
    with credentials.using(s3.environment()):
        place = stores.place(f"{s3.url}/a")
    place.put(b"1")
    assert place.get() == b"1"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    with pytest.raises(stores.NotKnown) as refused:
        stores.place(f"{s3.url}/a").get()
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)
    with pytest.raises(stores.NotKnown):  # else each object of a list would be an error row
        stores.place(f"{s3.url}/a").head()
    assert place.get() == b"1"
