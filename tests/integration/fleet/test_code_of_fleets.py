"""The way of a fleet's code from a script to its pods, and who cannot read it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError
from django.test import Client
from structlog.testing import capture_logs

from fleet import keeping_code, operating
from fleet.code import channel
from fleet.code.packing import pack
from fleet.code.wheel import agent_wheel
from fleet.models import Fleet
from fleet.pages.status import status_of
from fleet.tick import ticking
from fleet.tick.requesting import template_hash
from pods.accounts import connecting
from pods.accounts.start_command import start_command
from pods.agent.bootstrap import Report
from pods.agent.protocol import Keys
from pods.agent.start import Redis
from pods.agent_redis import redis_users
from pods.models import Account, Pod
from pods.states import BOOTING, READY, STOPPED
from tests.support.admin_pages import fields_of, page_of
from tests.support.as_pods import as_pod, refused
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.fixtures import client as client
from tests.support.fleet_command import run
from tests.support.rigs.code_rig import SCRIPT, local_account, no_index, step, tiny_wheel
from tests.support.waiting import until

pytestmark = pytest.mark.django_db


def script(folder: Path, text: str = "def handle(batch):\n    return batch\n") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "embed.py"
    file.write_text(text)
    return file


@pytest.fixture
def local(tmp_path: Path, settings: Any) -> Iterator[Account]:
    settings.VAR_DIR = tmp_path / "var"
    with local_account(tmp_path / "var" / "pods") as account:
        yield account


def made(path: Path, name: str = "emb", *more: str) -> Fleet:
    run("create", name, "--script", path, "--stream", name, "--group", name, *more)
    return Fleet.objects.get(name=name)


NEEDS = """# /// script
# requires-python = ">=3.29"
# ///
def handle(batch):
    return batch
"""


def test_code_that_no_python_of_this_machine_runs_is_refused_for_local_fleets(
    redis_url: str, tmp_path: Path, local: Account
) -> None:
    path, plain = script(tmp_path / "a", NEEDS), script(tmp_path / "b")
    with pytest.raises(
        CommandError, match=r"needs Python >=3\.29, and its pods run on this machine"
    ):
        made(path)
    assert not Fleet.objects.exists()
    fleet = made(plain)
    with pytest.raises(CommandError, match="which has 3"):
        run("set", "emb", "--script", path)
    assert Fleet.objects.get().bundle == fleet.bundle
    an_account("docker", name="images", enabled=False)
    mixed = ("--account", local.name, "--account", "images", "--image", "python:3.29")
    assert made(path, "two", *mixed).bundle


def test_only_the_fleets_own_pods_read_its_code_and_none_writes_it(
    redis_url: str, tmp_path: Path, local: Account
) -> None:
    fleet = made(script(tmp_path / "a"))
    other = made(script(tmp_path / "b"), "cap")
    key = f"{Keys('emb').code}{fleet.bundle}"
    own, stranger = as_pod(a_pod(fleet, READY)), as_pod(a_pod(other, READY))
    body = own.get(key)
    assert body == channel.archive_of(fleet, fleet.bundle)
    assert json.loads(str(own.get(f"{Keys('emb').code}agent"), "utf-8"))[1] == agent_wheel().digest
    for words in (
        ("SET", key, "x"), ("DEL", key), ("SETRANGE", key, "0", "x"), ("PEXPIRE", key, "1"),
        ("APPEND", key, "x"), ("RENAME", key, "emb"), ("COPY", key, f"{key}2"),
        ("SET", f"{Keys('emb').code}agent", "x"),
    ):  # fmt: skip
        assert refused(own, *words), words
    for words in (("GET", key), ("STRLEN", key), ("GETRANGE", key, "0", "1")):
        assert refused(stranger, *words), words
    without = as_pod(a_pod(a_fleet(name="plain", stream="p", group="p"), READY))
    assert refused(without, "GET", key)
    assert own.get(key) == body


def test_a_tick_publishes_again_what_redis_lost_with_the_code_of_older_pods(
    redis_url: str, tmp_path: Path, local: Account, client: "redis.Redis"
) -> None:
    fleet = made(script(tmp_path))
    before = fleet.bundle
    a_pod(fleet, STOPPED, account=local)
    run("set", "emb", "--script", script(tmp_path, "def handle(batch):\n    return 1\n"))
    fleet.refresh_from_db()
    keys = {f"{Keys('emb').code}{name}" for name in (before, fleet.bundle, "agent")}
    keys.add(f"{Keys('emb').code}{agent_wheel().digest}")
    client.delete(*keys)
    ticking.tick_fleet(fleet.pk)
    assert {key for key in keys if client.exists(key)} == keys
    assert all(0 < client.ttl(key) <= 3600 for key in keys)
    run("pause", "emb")
    Pod.objects.all().delete()
    operating.edit(Fleet.objects.get(name="emb"), {"name": "emb-2"}, by="ann")
    channel.forget(fleet, "emb")
    assert not any(client.exists(key) for key in keys)


def test_other_code_is_another_template_and_rollback_goes_back(
    redis_url: str, tmp_path: Path, local: Account
) -> None:
    fleet = made(script(tmp_path))
    first, template = fleet.bundle, template_hash(fleet)
    with pytest.raises(CommandError, match="no code before version 1"):
        run("rollback", "emb")
    path = script(tmp_path, "def other(batch):\n    return 1\n")
    text = run("set", "emb", "--script", path, "--handler", "embed:other", "--batch-size", "8")
    assert "code version 2 from embed.py" in text
    fleet.refresh_from_db()
    assert (fleet.code_number, fleet.handler, fleet.batch_size) == (2, "embed:other", 8)
    assert template_hash(fleet) != template
    assert "the same as before" in run("set", "emb", "--script", path)
    assert "code version 1" in run("rollback", "emb")
    fleet.refresh_from_db()
    assert status_of(fleet).code_number == 1
    assert (fleet.bundle, fleet.handler, fleet.code_number) == (first, "embed:handle", 1)
    assert template_hash(fleet) == template
    reasons = [h.history_change_reason or "" for h in fleet.history.order_by("pk")]
    assert any("code version 2 (embed.py) set by" in reason for reason in reasons)
    assert "code rolled back to version 1 by" in reasons[-1]


def test_code_that_cannot_work_makes_no_fleet_and_changes_none(
    redis_url: str, tmp_path: Path, local: Account
) -> None:
    bad = script(tmp_path / "bad", "def handle(batch:\n")
    with pytest.raises(CommandError, match="line 1"):
        made(bad)
    assert not Fleet.objects.exists()
    fleet = made(script(tmp_path / "good"))
    with pytest.raises(CommandError, match="nothing was changed"):
        run("set", "emb", "--script", bad)
    assert Fleet.objects.get(name="emb").version == fleet.version
    with pytest.raises(ValidationError):
        keeping_code.create_fleet("x y", pack(script(tmp_path / "good")), by="ann")
    assert Fleet.objects.count() == 1


def test_another_handler_must_be_in_the_code_whoever_sets_it(
    redis_url: str, tmp_path: Path, local: Account
) -> None:
    text = "def handle(batch):\n    return batch\n\n\nother = handle\n"
    fleet = made(script(tmp_path, text))
    for handler, says in (("other:x", "no module other among embed.py"), ("embed:x", "has no x")):
        with pytest.raises(CommandError, match=says):
            run("set", "emb", "--handler", handler)
    file = tmp_path / "fleet.toml"
    exported = run("export", "emb")
    assert exported.startswith("# emb: its code is not in this file; give it with `fleet set emb")
    assert run("export", "emb", "--yaml").startswith("# emb: its code is not in this file")
    file.write_text(exported)
    assert "nothing to change" in run("plan", file)
    file.write_text(exported.replace("embed:handle", "embed:nosuch"))
    with pytest.raises(CommandError, match=r"fleets\.emb\.handler: embed\.py has no nosuch"):
        run("plan", file)
    admin_page = Client()
    admin_page.force_login(User.objects.create_superuser("root", password="x"))
    answer = admin_page.post(page_of(fleet), {**fields_of(fleet), "handler": "embed:nosuch"})
    assert "has no nosuch" in str(answer.context["adminform"].form.errors["handler"])
    assert Fleet.objects.get().handler == fleet.handler
    run("set", "emb", "--handler", "embed:other")
    assert Fleet.objects.get().handler == "embed:other"


def test_create_says_what_it_made_without_a_line_of_a_log(
    redis_url: str, tmp_path: Path, local: Account, client: "redis.Redis"
) -> None:
    words = ("create", "emb", "--script", script(tmp_path), "--stream", "emb", "--group", "emb")
    with capture_logs() as logs:
        said = run(*words)
    first, second = said.splitlines()[:2]
    assert first == "created emb: at most 1 pod"
    assert second.startswith("emb: code version 1 from embed.py")
    assert not [line for line in logs if line["event"] == "code_published"]
    fleet = Fleet.objects.get()
    client.delete(f"{Keys('emb').code}{fleet.bundle}")
    with capture_logs() as logs:
        channel.keep_if_possible(fleet, [])
    assert [line["event"] for line in logs] == ["code_published"]
    for number in ("0", "-1", "x", "9" * 30):
        with pytest.raises(CommandError, match="give 1 to 100000 items"):
            run("check", "emb", "--items", number)


def test_old_archives_are_deleted_but_not_those_of_pods(
    redis_url: str, tmp_path: Path, local: Account
) -> None:
    fleet = made(script(tmp_path))
    a_pod(fleet, READY)
    for number in range(keeping_code.MOST_KEPT + 2):
        packed = pack(script(tmp_path, f"def handle(batch):\n    return {number}\n"))
        keeping_code.set_code(Fleet.objects.get(pk=fleet.pk), packed, {}, by="ann")
    kept = list(fleet.codes.order_by("number").values_list("number", flat=True))
    assert kept == [1, *range(4, keeping_code.MOST_KEPT + 4)]


def test_the_state_of_a_fleet_shows_what_a_booting_machine_says_now(
    redis_url: str, client: "redis.Redis"
) -> None:
    fleet = a_fleet(name="emb", stream="emb", group="emb", bundle="ab" * 32, code_number=1)
    operating.make_group(fleet)
    pod = a_pod(fleet, BOOTING)
    env = {"PODFLEET_FLEET": "emb", "PODFLEET_POD": pod.name}
    Report(Redis(redis_users.pod_address(pod), 5), "", env).say("preparing 3 requirements")
    [said] = json.loads(run("show", "emb", "--json"))["pods"]
    assert (said["state"], said["note"]) == ("booting", "preparing 3 requirements")


def test_a_machine_with_code_gets_a_start_command_and_others_none(redis_url: str) -> None:
    plain = a_pod(a_fleet(name="plain", accounts=[an_account()]), READY)
    assert connecting.spec(plain, redis_url="redis://x").command == ()
    pod = a_pod(a_fleet(name="emb", bundle="ab" * 32, code_number=1), READY)
    made = connecting.spec(pod, redis_url="redis://x")
    assert made.command == start_command()
    assert made.env["PODFLEET_BUNDLE"] == "ab" * 32


def results(client: "redis.Redis", stream: str = "emb:results") -> list[str]:
    found: Any = client.xrange(stream)
    return [fields[b"result"].decode() for _, fields in found]


@pytest.mark.one_database
@pytest.mark.takes(10)
def test_a_newcomer_gets_results_from_a_script_and_other_ones_from_a_changed_script(
    redis_url: str, tmp_path: Path, local: Account, client: "redis.Redis"
) -> None:
    tiny_wheel(tmp_path / "wheels")
    env = json.dumps(no_index(tmp_path / "wheels"))
    slow = SCRIPT.replace("handle(batch):", "handle(batch):\n    time.sleep(0.5)")
    slow = slow.replace("import tinydep", "import time\n\nimport tinydep")
    fleet = made(script(tmp_path, slow), "emb", "--handler-env", env, "--max-instances", "2")
    for number in range(100):
        client.xadd("emb", {"payload": f"text {number}"})
    until(lambda: step(fleet) or len(results(client)) == 100, 60)
    assert sorted(results(client)) == sorted(f"<text {number}>" for number in range(100))
    pod = Pod.objects.get(fleet=fleet)

    changed = slow.replace("marked(item.text)", "marked(item.text.upper())")
    run("set", "emb", "--script", script(tmp_path, changed))
    fleet.refresh_from_db()

    def works() -> bool:
        for _ in range(100):  # an idle pod is not replaced: each tick must find work
            client.xadd("emb", {"payload": "more"})
        step(fleet)
        return "<MORE>" in results(client)

    until(works, 60)
    until(lambda: step(fleet) or _retired(pod), 60)
    assert not Pod.objects.exclude(pk=pod.pk).filter(retire_rule="old_code").exists()
    environments = list((tmp_path / "var" / "code" / "environments").glob("*/ready"))
    assert len(environments) == 1


def _retired(pod: Pod) -> bool:
    pod.refresh_from_db()
    return pod.retire_rule == "old_code"


@pytest.mark.one_database
def test_a_failed_installation_shows_its_last_lines_and_brakes(
    redis_url: str, tmp_path: Path, local: Account, client: "redis.Redis"
) -> None:
    env = json.dumps(no_index(tmp_path))
    fleet = made(script(tmp_path, SCRIPT), "emb", "--handler-env", env)
    client.xadd("emb", {"payload": "x"})

    def failed() -> bool:
        step(fleet)
        return Pod.objects.filter(fleet=fleet, retire_rule="agent_failed").exists()

    until(failed, 60)
    pod = Pod.objects.get(fleet=fleet)
    assert "the environment cannot be built: " in pod.last_note
    assert "tinydep" in pod.last_note
    for _ in range(2):
        step(fleet)
    assert Pod.objects.filter(fleet=fleet).count() == 1
    assert "tinydep" in json.loads(run("show", "emb", "--json"))["trouble"]


@pytest.mark.one_database
def test_a_check_says_what_works_and_what_would_be_wrong(
    redis_url: str, tmp_path: Path, local: Account, client: "redis.Redis"
) -> None:
    tiny_wheel(tmp_path / "wheels")
    env = json.dumps(no_index(tmp_path / "wheels"))
    made(script(tmp_path, SCRIPT), "emb", "--handler-env", env)
    with pytest.raises(CommandError, match="no item waits"):
        run("check", "emb")
    for number in range(5):
        client.xadd("emb", {"payload": f"t{number}"})
    said = json.loads(run("check", "emb", "--json"))
    assert (said["ok"], said["step"]) == (True, "done")
    assert [r["result"] for r in said["results"]] == [f"<t{number}>" for number in range(5)]
    assert [b["items"] for b in said["batches"]] == [1, 4, 5]
    assert said["memory_mb"] > 1
    pending: Any = client.xpending("emb", "emb")
    assert pending["pending"] == 0
    for text, wrong in (
        ("import numpy_of_nobody\ndef handle(batch): return []", "the module numpy_of_nobody is"),
        ("def handle(batch): return [object() for _ in batch]", "is neither bytes, text nor JSON"),
        ("import os\ndef handle(batch): os._exit(7)", "its process ended with 7"),
        ("def handle(batch): return []", "1 of 1 items failed"),
    ):
        path = script(tmp_path, f"{text}\n")
        with pytest.raises(CommandError, match=wrong):
            run("check", "emb", "--script", path, "--item", "x")


def test_a_handler_of_the_agent_is_checked_without_code_of_the_fleet(local: Account) -> None:
    run("create", "emb", "--handler", "pods.agent.handlers.wordllama:embed")
    said = json.loads(run("check", "emb", "--item", "a text", "--json"))
    assert (said["ok"], said["step"]) == (True, "done")
    assert '"embedding"' in said["results"][0]["result"]
    run("set", "emb", "--handler", "tests.support.programs.handlers:nothing")
    with pytest.raises(CommandError, match="the image of emb has its code"):
        run("check", "emb", "--item", "x")


READY_SCRIPT = """
from pods.agent.handlers.onnx import Embedder
handle = Embedder()
"""


def test_options_of_a_ready_handler_are_variables_of_the_fleet(
    tmp_path: Path, local: Account
) -> None:
    file = script(tmp_path, READY_SCRIPT)
    env = '{"HANDLER_POOLING": "cls"}'
    fleet = made(file, "emb", "--model", "a/b", "--handler-env", env)
    assert fleet.handler_env == {"HANDLER_POOLING": "cls", "HANDLER_MODEL": "a/b"}
    run("set", "emb", "--model", "", "--input-field", "body")
    fleet.refresh_from_db()
    assert fleet.handler_env == {"HANDLER_POOLING": "cls", "HANDLER_INPUT_FIELD": "body"}


def test_the_json_of_create_and_set_names_all_that_was_left_out(tmp_path: Path) -> None:
    folder = script(tmp_path).parent
    (folder / ".envrc").write_text("export KEY=1")
    asked = ("emb", "--script", folder, "--handler", "embed:handle", "--json")
    assert json.loads(run("create", *asked))["left_out"] == [".envrc"]
    (folder / "token.txt").write_text("1")
    assert json.loads(run("set", *asked))["left_out"] == [".envrc", "token.txt"]
    assert "left_out" not in json.loads(run("set", "emb", "--batch-size", "9", "--json"))


def test_a_handler_that_the_agent_does_not_have_is_refused_unless_an_image_may(
    tmp_path: Path, capsys: Any
) -> None:
    own = "pods.agent.handlers"
    with pytest.raises(CommandError, match="handler: the agent has no module"):
        run("create", "emb", "--handler", f"{own}.embed:embed")
    run("create", "emb", "--handler", f"{own}.wordllama:embed")
    with pytest.raises(
        CommandError, match=r"handlers\.onnx has no nothing; below .* it has clip:Embedder"
    ):
        run("set", "emb", "--handler", f"{own}.onnx:nothing")
    Fleet.objects.update(handler=f"{own}.old:gone")  # of an older version
    run("set", "emb", "--batch-size", "9")
    assert "warning" not in capsys.readouterr().err
    run("set", "emb", "--handler", f"{own}.newer:embed", "--image", "example/agent:9")
    assert "If example/agent:9 has no newer agent" in capsys.readouterr().err
    with pytest.raises(CommandError, match="the agent has no module"):
        run("set", "emb", "--script", script(tmp_path), "--handler", f"{own}.newer:embed")
