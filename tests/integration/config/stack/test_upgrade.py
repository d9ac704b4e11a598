"""A fleet that works goes from the release before to this one, and back, as docs/howto/upgrade.md says."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from config.env import ROOT
from tests.support.installation import FAST, Installation, agents, ready, results, write_items

# The last commit on main before the changes that CHANGELOG.md calls unreleased now.
BEFORE = "8d3b5f498a015b72cb7eb27d8a08e0ebddb3170d"
ITEMS = 6_000


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the release before."""
    packed = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip("this clone does not have the commit of the release before")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def installation(tmp_path: Path, empty_url: str, before: Path) -> Iterator[Installation]:
    """An installation of the release before."""
    made = Installation(tmp_path / "var", empty_url, root=before)
    yield made
    made.stop()


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_agents_work_on_while_the_manager_is_upgraded_and_while_it_goes_back(
    installation: Installation, before: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fleet, look = installation.fleet, installation.look

    def names() -> set[str]:
        return {pod["name"] for pod in look("emb")["pods"] if pod["state"] == "ready"}

    def done() -> int:
        return len(results(installation.redis_url))

    fleet("create", "emb", *FAST, "--max-instances", "2")
    fleet("enqueue", "emb", str(write_items(tmp_path / "a.txt", ITEMS)))
    installation.start(monkeypatch)
    installation.until(lambda: ready(look("emb")) == 2)
    old = names()

    installation.stop_manager()
    restore = keep(installation.env["DATABASE_URL"], tmp_path)
    installation.go_on_as(ROOT)
    installation.start(monkeypatch)
    installation.until(lambda: names() == old)
    had = done()
    installation.until(lambda: done() > had)
    fleet("set", "emb", "--max-instances", "3")
    installation.until(lambda: ready(look("emb")) == 3)
    newer = names() - old

    # back: the database from before does not know the third pod
    installation.stop_manager()
    restore()
    installation.go_on_as(before)
    installation.cli("account", "set", "local", "--orphans", "adopt")
    assert done() < ITEMS
    installation.start(monkeypatch)
    installation.until(lambda: old <= names())
    installation.until(lambda: newer <= {pod["name"] for pod in look("emb")["pods"]})
    installation.until(lambda: look("emb")["depth"] == 0, seconds=240)
    installation.until(lambda: look("emb")["pods"] == [])
    assert agents(installation.var) == []
    found = results(installation.redis_url)
    assert set(found) == {f"a.txt:{n + 1}" for n in range(ITEMS)}


def keep(url: str, folder: Path) -> Callable[[], None]:
    """Back up a database that nobody uses; the answer restores it."""
    if url.startswith("sqlite:///"):
        file, kept = Path(url.removeprefix("sqlite:///")), folder / "backup.sqlite3"
        shutil.copy(file, kept)
        return lambda: restore_file(kept, file)
    name = urlsplit(url).path.removeprefix("/")
    mine, kept_one = sql.Identifier(name), sql.Identifier(f"{name}_backup")
    execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(kept_one, mine))
    return lambda: execute(
        sql.SQL("DROP DATABASE {} WITH (FORCE)").format(mine),
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(kept_one, mine),
    )


def restore_file(kept: Path, file: Path) -> None:
    for end in ("-wal", "-shm"):  # they belong to the database that is replaced
        file.with_name(file.name + end).unlink(missing_ok=True)
    shutil.copy(kept, file)


def execute(*statements: sql.Composed) -> None:
    address = urlsplit(os.environ["DATABASE_URL"])._replace(path="/postgres").geturl()
    with psycopg.connect(address, autocommit=True) as server:
        for statement in statements:
            server.execute(statement)
