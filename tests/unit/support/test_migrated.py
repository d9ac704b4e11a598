"""The processes of a run share one migrated database of each kind."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import migrated


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv(migrated.VARIABLE, str(tmp_path / "migrated.sqlite3"))
    return tmp_path


def test_of_those_that_ask_at_once_one_makes_it_and_nobody_sees_it_half_made(place: Path) -> None:
    made: list[Path] = []

    def make(unfinished: Path) -> None:
        made.append(unfinished)
        assert not (place / "migrated.sqlite3").exists()
        unfinished.write_text("rows")

    def ask(_: int) -> str:
        return migrated.made("sqlite3", make).read_text()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == ["rows"] * 8
    assert len(made) == 1


def test_what_a_killed_process_left_is_made_again(place: Path) -> None:
    def fail(unfinished: Path) -> None:
        (unfinished / "half").mkdir(parents=True)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        migrated.made("postgres", fail)
    assert not migrated.is_shared("postgres")
    whole = migrated.made("postgres", lambda unfinished: unfinished.mkdir())
    assert not list(whole.iterdir())
    assert migrated.is_shared("postgres")
    assert not migrated.was_copied_to(whole)
