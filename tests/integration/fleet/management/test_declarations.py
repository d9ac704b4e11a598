"""`fleet plan`, `fleet apply` and `fleet export`: what a file declares, the fleets become."""

import getpass
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from django.core.management import CommandError, call_command

from config.env import ROOT
from fleet import archiving, operating
from fleet.code.packing import pack
from fleet.declarations import applying, exporting, tables
from fleet.declarations.documents import WrongDocument, read
from fleet.models import Fleet
from tests.support.factories import a_fleet, a_pod
from tests.support.fleet_command import run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]
EMB = """
[fleets.emb]
stream = "emb"
handler = "pods.agent.handlers.pace:sleep"
max_instances = 3
max_hourly_usd = 0.1
tick_seconds = 30
[fleets.emb.offer_query]
gpu_types = ["rtx 4090"]
"""
VEC = """
[fleets.vec]
stream = "vec"
handler = "pods.agent.handlers.pace:sleep"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(EMB + VEC)
    return path


def planned(file: Path, *words: str) -> list[tuple[str, str]]:
    answer: dict[str, Any] = json.loads(run("plan", file, "--json", *words))
    return [(change["fleet"], change["action"]) for change in answer["changes"]]


def changes_of(file: Path) -> dict[str, Any]:
    [change] = json.loads(run("plan", file, "--json"))["changes"]
    fields: dict[str, Any] = change["fields"]
    return fields


def test_a_second_apply_changes_nothing(file: Path) -> None:
    assert planned(file) == [("emb", "create"), ("vec", "create")]
    assert not Fleet.objects.exists()
    assert "applied: 2 to create" in run("apply", file, "--yes")
    emb = Fleet.objects.get(name="emb")
    assert emb.max_hourly_usd == Decimal("0.1")
    assert emb.offer_query == {"gpu_types": ["RTX 4090"]}
    assert emb.tick_period.total_seconds() == 30
    written = Fleet.history.count()  # type: ignore[attr-defined]
    assert planned(file) == []
    assert run("apply", file).strip() == "applied: nothing to change"
    assert Fleet.history.count() == written  # type: ignore[attr-defined]


def test_only_what_differs_is_changed_and_named_in_the_history(file: Path) -> None:
    run("apply", file, "--yes")
    emb = Fleet.objects.get(name="emb")
    operating.edit(emb, {"max_instances": 9, "idle_seconds": 600}, by="somebody")
    assert changes_of(file) == {
        "max_instances": {"before": 9, "after": 3},
        "idle_seconds": {"before": 600, "after": 120},
    }
    run("apply", file, "--yes")
    last = Fleet.history.filter(name="emb").latest()  # type: ignore[attr-defined]
    assert last.history_change_reason == f"set Idle, Max pods by {getpass.getuser()}"
    emb.refresh_from_db()
    assert (emb.max_instances, emb.idle_seconds) == (3, 120)


def test_an_operators_pause_is_left_alone_unless_the_file_names_the_mode(file: Path) -> None:
    run("apply", file, "--yes")
    run("pause", "emb")
    assert planned(file) == []
    file.write_text(EMB.replace("max_instances", 'mode = "running"\nmax_instances') + VEC)
    assert changes_of(file) == {"mode": {"before": "paused", "after": "running"}}


def test_an_export_of_what_operators_did_changes_nothing(file: Path, tmp_path: Path) -> None:
    run("apply", file, "--yes")
    emb = Fleet.objects.get(name="emb")
    edits = {"daily_budget_usd": "12.50", "handler_env": {"A": "1"}, "max_pod_hours": 3}
    operating.edit(emb, edits, by="somebody")
    for name, words in {"out.toml": [], "out.yaml": ["--yaml"]}.items():
        (tmp_path / name).write_text(run("export", *words))
        assert planned(tmp_path / name) == []
    document = yaml.safe_load((tmp_path / "out.yaml").read_text())
    jsonschema.validate(document, tables.schema())
    assert document["fleets"]["emb"]["daily_budget_usd"] == 12.5


def test_an_export_holds_no_password(tmp_path: Path) -> None:
    address = "redis://user:hidden@127.0.0.1:1/0"
    fleet = a_fleet(name="4far", backlog_url=address, stream="far")
    out, err = io.StringIO(), io.StringIO()
    call_command("fleet", "export", stdout=out, stderr=err)
    assert "hidden" not in out.getvalue() + err.getvalue()
    assert 'env = "FLEET_4FAR_BACKLOG_URL"' in out.getvalue()
    assert err.getvalue().startswith("FLEET_4FAR_BACKLOG_URL must be set to the address")
    environment = {"FLEET_4FAR_BACKLOG_URL": address}
    declared = read(out.getvalue(), is_yaml=False, environment=environment)
    fleet.accounts.set([operating.local_account()])
    declared = read(
        exporting.as_toml(exporting.export([fleet])), is_yaml=False, environment=environment
    )
    assert applying.plan(declared, prune=False).changes == ()


def test_a_fleet_that_the_file_does_not_name_is_archived_only_with_prune(file: Path) -> None:
    run("apply", file, "--yes")
    busy = a_fleet(name="busy", stream="busy")
    a_pod(busy)
    a_fleet(name="done", stream="done")
    assert planned(file) == []
    assert "left alone: busy, done" in run("plan", file)
    assert planned(file, "--prune") == [("busy", "archive"), ("done", "archive")]
    run("apply", file, "--prune", "--yes")
    busy.refresh_from_db()
    assert (busy.archived_at, busy.archive_when_empty) == (None, True)
    assert Fleet.objects.get(name="done").archived_at is not None
    assert planned(file, "--prune") == []


def test_an_archived_fleet_comes_back_paused(file: Path) -> None:
    run("apply", file, "--yes")
    archiving.archive(Fleet.objects.get(name="vec"), by="somebody")
    assert planned(file) == [("vec", "restore")]
    run("apply", file, "--yes")
    vec = Fleet.objects.get(name="vec")
    assert (vec.archived_at, vec.mode) == (None, "paused")


def test_prune_with_an_empty_file_is_refused(tmp_path: Path) -> None:
    a_fleet(name="kept")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(CommandError, match="declares no fleet; --prune would archive kept"):
        run("apply", tmp_path / "empty.toml", "--prune", "--yes")


def test_one_wrong_fleet_keeps_all_from_being_written(file: Path) -> None:
    file.write_text(EMB + VEC.replace('stream = "vec"', 'stream = "emb"\nmin_instances = 5'))
    with pytest.raises(CommandError) as raised:
        run("apply", file, "--yes")
    said = str(raised.value)
    assert "fleets.vec.min_instances" in said or "fleets.vec.max_instances" in said
    file.write_text(EMB + VEC.replace('stream = "vec"', 'stream = "emb"\naccounts = ["local"]'))
    with pytest.raises(CommandError, match=r"fleets\.vec\.stream: the fleet emb drains the stream"):
        run("apply", file, "--yes")
    file.write_text(EMB + VEC + 'accounts = ["nobody"]\n')
    with pytest.raises(CommandError, match=r"fleets\.vec\.accounts: no account 'nobody'"):
        run("apply", file, "--yes")
    assert not Fleet.objects.exists()


def test_an_edit_between_plan_and_apply_stops_the_apply(file: Path) -> None:
    run("apply", file, "--yes")
    file.write_text(EMB.replace("= 3\n", "= 4\n") + VEC)
    declared = read(file.read_text(), is_yaml=False, environment={})
    shown = applying.plan(declared, prune=False)
    emb = Fleet.objects.get(name="emb")
    operating.edit(emb, {"max_instances": 7}, by="somebody")
    with pytest.raises(applying.PlanChanged, match="nothing was written"):
        applying.apply(declared, shown, prune=False, by="me")
    emb.refresh_from_db()
    assert emb.max_instances == 7


def test_a_file_is_applied_only_after_a_yes(file: Path) -> None:
    with pytest.raises(CommandError, match="2 to create; add --yes to apply it") as raised:
        run("apply", file, "--json")
    assert raised.value.returncode == 2
    assert not Fleet.objects.exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.toml", None, "No such file"),
        ("latin.toml", "[fleets.é]".encode("latin-1"), "is not text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CommandError, match=says):
        run("plan", tmp_path / name)


@pytest.mark.parametrize("name", ["fleet.toml", "fleet.yaml"])
def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path, name: str) -> None:
    text = (
        EMB + VEC
        if name.endswith("toml")
        else 'fleets:\n  vec: {stream: vec, handler: "work:handle"}\n'
    )
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert ("vec", "create") in planned(tmp_path / name)


def test_the_schema_in_the_docs_is_the_present_one() -> None:
    written = json.loads((ROOT / "docs/reference/fleet.schema.json").read_text())
    assert written == json.loads(run("export", "--schema"))
    jsonschema.Draft202012Validator.check_schema(written)


def test_a_missing_handler_is_said_before_anything_is_planned() -> None:
    with pytest.raises(WrongDocument, match=r"fleets\.a\.handler: is missing"):
        read("[fleets.a]\n", is_yaml=False, environment={})


CODED = """
[fleets.emb]
stream = "emb"
group = "emb"
script = "embed.py"
"""


def test_a_script_beside_the_file_is_the_code_of_its_fleet(tmp_path: Path) -> None:
    file, script = tmp_path / "fleet.toml", tmp_path / "embed.py"
    file.write_text(CODED)
    script.write_text("def handle(batch):\n    return batch\n")
    assert "code: " in run("plan", file)
    assert not Fleet.objects.exists()
    assert "(1 file, from embed.py)" in run("apply", file, "--yes")
    fleet = Fleet.objects.get()
    first = fleet.bundle
    assert (fleet.code_number, fleet.handler) == (1, "embed:handle")
    assert planned(file) == []
    script.write_text("def handle(batch):\n    return [1]\n")
    assert list(changes_of(file)) == ["code"]
    text = run("apply", file, "--yes")
    second = pack(script).digest
    assert f"code: {first[:12]} → {second[:12]} (1 file changed, from embed.py)" in text
    fleet.refresh_from_db()
    assert (fleet.code_number, fleet.bundle) == (2, second)
    reasons = [h.history_change_reason or "" for h in fleet.history.all()]
    assert f"code version 2 (embed.py) set by {getpass.getuser()}" in reasons
    assert 'put embed.py beside this file and name it: script = "PATH"' in run("export")
    file.write_text(CODED.replace('script = "embed.py"', 'handler = "embed:handle"'))
    assert planned(file) == []  # a file that names no script leaves the code alone


def test_a_script_that_cannot_work_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    (tmp_path / "bad.py").write_text("def handle(:\n")
    (tmp_path / "folder").mkdir()
    for script, says in (
        ("nosuch.py", r"fleets\.emb\.script: .*nosuch\.py does not exist"),
        ("bad.py", r"fleets\.emb\.script: .*line 1"),
        ("folder", r"fleets\.emb\.handler: is missing; folder is a folder"),
        ("/embed.py", "write its path from this file"),
    ):
        file.write_text(CODED.replace("embed.py", script))
        with pytest.raises(CommandError, match=says):
            run("apply", file, "--yes")
    assert not Fleet.objects.exists()
