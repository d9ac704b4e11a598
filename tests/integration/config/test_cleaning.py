"""`make clean` keeps rows and keys while a pod may bill."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from config.cleaning import why_kept
from fleet.models import Fleet
from pods.states import ENDED, PodState
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet() -> Fleet:
    return a_fleet(name="emb")


def test_without_a_pod_that_may_bill_all_may_be_deleted(fleet: Fleet, tmp_path: Path) -> None:
    for state in ENDED:
        a_pod(fleet, state)
    assert why_kept(tmp_path) == ""
    call_command("may_clean", str(tmp_path))


@pytest.mark.parametrize("state", sorted(set(PodState) - ENDED))
def test_a_pod_that_may_bill_keeps_the_folder_and_is_named(
    state: PodState, fleet: Fleet, tmp_path: Path
) -> None:
    pod = a_pod(fleet, state, external_id="machine-7")
    with pytest.raises(CommandError, match="nothing was deleted: 1 pod may still bill") as refused:
        call_command("may_clean", str(tmp_path))
    said = str(refused.value)
    assert f"{pod.name} ({state}), machine machine-7 at {pod.provider}" in said
    assert pod.account.name in said
    assert "`manage.py fleet stop-all emb`" in said
    assert "make clean FORCE=1" in said


def test_by_force_it_only_warns(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_pod(fleet)
    call_command("may_clean", str(tmp_path), force=True)
    assert "warning: 1 pod may still bill" in capsys.readouterr().err


def test_a_long_list_of_pods_is_cut(fleet: Fleet, tmp_path: Path) -> None:
    for _ in range(22):
        a_pod(fleet)
    assert "\n  and 2 more\n" in why_kept(tmp_path)


def test_a_table_that_cannot_be_read_keeps_the_folder(fleet: Fleet, tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE pods_pod RENAME COLUMN external_id TO other")
    assert "the database cannot be read" in why_kept(tmp_path)


def test_a_database_without_tables_has_no_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", lambda *_args, **_kw: [])
    assert why_kept(tmp_path) == ""


def test_a_database_that_nobody_looked_at_keeps_the_folder(tmp_path: Path) -> None:
    (tmp_path / "podfleet.sqlite3").write_bytes(b"rows")
    assert "is not the database of these settings" in why_kept(tmp_path)
