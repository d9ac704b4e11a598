"""A fleet that is kept idle has its new code before the next item, and its model before the handler."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from fleet.models import Fleet
from pods import teardown
from pods.models import Account, Pod
from pods.states import READY, TERMINATED, TERMINATING
from tests.support.fixtures import client as client
from tests.support.fleet_command import run
from tests.support.hub import a_hub
from tests.support.rigs.code_rig import local_account, step
from tests.support.waiting import until

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
SCRIPT = "def handle(batch):\n    return ['{word} ' + item.text for item in batch]\n"
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}


@pytest.fixture
def local(tmp_path: Path, settings: Any) -> Iterator[Account]:
    settings.VAR_DIR = tmp_path / "var"
    with local_account(tmp_path / "var" / "pods") as account:
        yield account


def script(folder: Path, word: str) -> Path:
    file = folder / "embed.py"
    file.write_text(SCRIPT.replace("{word}", word))
    return file


def made(path: Path, *more: str, **env: str) -> Fleet:
    words = ("--stream", "emb", "--group", "emb", "--handler-env", json.dumps({**OFFLINE, **env}))
    run("create", "emb", "--script", path, *words, *more)
    return Fleet.objects.get(name="emb")


@pytest.mark.takes(10)
def test_an_idle_pod_never_works_with_old_code_after_it_was_replaced(
    redis_url: str, tmp_path: Path, local: Account, client: "redis.Redis"
) -> None:
    fleet = made(script(tmp_path, "old"), "--min-instances", "1", "--max-instances", "2")
    until(lambda: step(fleet) or Pod.objects.filter(state=READY.value).exists(), 60)
    first = Pod.objects.get()
    run("set", "emb", "--script", script(tmp_path, "new"))
    fleet.refresh_from_db()

    def replaced() -> bool:
        step(fleet)
        first.refresh_from_db()
        if first.retire_rule:
            teardown.teardown_pod(first.pk)
        others = Pod.objects.exclude(pk=first.pk).filter(state=READY.value)
        return first.status in {TERMINATING, TERMINATED} and others.exists()

    until(replaced, 60)
    assert first.retire_rule == "old_code"
    for number in range(20):
        client.xadd("emb", {"payload": f"text {number}"})

    def results() -> list[str]:
        found: Any = client.xrange("emb:results")
        return [fields[b"result"].decode() for _, fields in found]

    until(lambda: step(fleet) or len(results()) == 20, 60)
    assert {result.split()[0] for result in results()} == {"new"}


@pytest.mark.takes(10)
def test_a_model_that_the_hub_does_not_have_is_said_on_the_card_and_brakes(
    redis_url: str, tmp_path: Path, local: Account, client: "redis.Redis"
) -> None:
    with a_hub() as hub:
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "models")}
        fleet = made(script(tmp_path, "x"), "--model", "org/small", "--max-instances", "2", **env)
        client.xadd("emb", {"payload": "x"})
        failed = Pod.objects.filter(fleet=fleet, retire_rule="agent_failed")
        until(lambda: step(fleet) or failed.exists(), 60)
        step(fleet)
        said = "the model org/small cannot be fetched: the hub has no such model"
        assert said in json.loads(run("show", "emb", "--json"))["trouble"]
        assert Pod.objects.filter(fleet=fleet).count() == 1
        hub.models["org/small"] = {"config.json": b"{}", "model.safetensors": b"w" * 1000}
        run("resume", "emb")
        until(lambda: step(fleet) or client.xlen("emb:results") == 1, 60)
        assert "model.safetensors" in hub.fetched
