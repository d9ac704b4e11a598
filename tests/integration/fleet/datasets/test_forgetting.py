"""A planned file that is gone or was replaced can be given up, and the dataset is finished then."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from django.core.management.base import CommandError

from fleet.datasets import finishing, forgetting
from fleet.datasets.standing import RangeStream, rows_key
from fleet.items.dead_letters import DeadLetters
from fleet.models import Dataset, Fleet
from pods.agent.dataset.stores import Place
from tests.support.datasets import FLEET, bury, take, work, write_parquet
from tests.support.fleet_command import run

COUNTS = ("planned", "done", "failed", "dead")


@pytest.fixture
def given(fleet: Fleet, client: redis.Redis, tmp_path: Path) -> Path:
    """Two files: of `a` a range is dead and two have parts, one of them with a failed row."""
    write_parquet(tmp_path / "in" / "a.parquet", 3000)
    write_parquet(tmp_path / "in" / "b.parquet", 2000, first=3000)
    feed(tmp_path)
    (first,) = take(client, 1)
    bury(client, first)
    work(client, failed={1500})
    return tmp_path


def feed(given: Path) -> str:
    return run(
        "feed", FLEET, f"file://{given}/in/*.parquet", "--into", f"file://{given}/out",
        "--rows-per-range", 1000,
    )  # fmt: skip


def forget(given: Path, *more: str) -> str:
    return run("forget", FLEET, f"file://{given}/in/a.parquet", *more)


def finish() -> bool:
    return finishing.finish_dataset(Dataset.objects.get().pk)


def counts(client: redis.Redis) -> list[int]:
    return [int(n or 0) for n in client.hmget(rows_key(FLEET), COUNTS)]  # type: ignore[union-attr]


def test_a_file_that_is_given_up_lets_the_dataset_finish(given: Path, client: redis.Redis) -> None:
    (given / "in" / "a.parquet").unlink()
    assert not finish()
    said = forget(given, "--delete-parts")
    assert "1 input file forgotten; 1 dead range dropped, 2 parts deleted" in said
    assert counts(client) == [2000, 1999, 1, 0]
    assert finish()
    assert "each input row has one output row or one error row" in run("verify", FLEET)
    assert len(list((given / "out" / "errors").iterdir())) == 1  # of `b`


def test_the_new_version_of_a_file_is_fed_after_the_old_one_is_given_up(
    given: Path, client: redis.Redis
) -> None:
    write_parquet(given / "in" / "a.parquet", 4000)
    with pytest.raises(CommandError, match=r"`fleet forget emb file://.*/in/a\.parquet`"):
        feed(given)
    forget(given, "--delete-parts")
    feed(given)
    work(client)
    assert counts(client) == [6000, 5999, 1, 0]
    assert finish()
    assert "each input row has one output row or one error row" in run("verify", FLEET)


def test_without_being_asked_no_part_is_deleted(given: Path, client: redis.Redis) -> None:
    before = sorted((given / "out").rglob("*")), counts(client), Dataset.objects.get().version
    with pytest.raises(CommandError, match=r"has 3 files with rows of .*--delete-parts"):
        forget(given)
    assert (sorted((given / "out").rglob("*")), counts(client), Dataset.objects.get().version) == (
        before
    )


def test_ranges_that_are_left_and_unknown_files_are_refused(
    given: Path, client: redis.Redis
) -> None:
    with pytest.raises(CommandError, match=r"names no planned file of emb; it has .*a\.parquet"):
        run("forget", FLEET, f"file://{given}/in/c.parquet")
    write_parquet(given / "in" / "c.parquet", 1000, first=5000)
    feed(given)
    with pytest.raises(CommandError, match="1 range of emb wait or are in hand"):
        forget(given, "--delete-parts")
    assert Dataset.objects.get().files.count() == 3


def test_a_dataset_without_files_is_not_finished(given: Path) -> None:
    assert "2 input files forgotten" in run(
        "forget", FLEET, f"file://{given}/in/*.parquet", "--delete-parts"
    )
    assert not finish()
    assert "no input file is planned any more" in Dataset.objects.get().note


class Killed(BaseException):
    pass


LINES: list[tuple[object, str, int]] = [
    (RangeStream, "take_over", 1),
    (forgetting, "_not_finished", 1),
    (DeadLetters, "drop", 1),
    (Place, "delete", 3),  # the first part; two calls before are those of `remove_ends`
    (RangeStream, "recount", 1),
    (RangeStream, "take_over", 2),
    (forgetting, "_not_finished", 2),
]


@pytest.mark.parametrize(("where", "line", "nth"), LINES)
def test_a_kill_after_any_line_is_made_good_by_the_same_command(
    given: Path,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    line: str,
    nth: int,
) -> None:
    real: Callable[..., object] = getattr(where, line)
    calls: list[int] = []

    def killed(*words: object, **more: object) -> object:
        answer = real(*words, **more)
        calls.append(1)
        if len(calls) == nth:
            raise Killed
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(where, line, killed)
        with pytest.raises(Killed):
            forget(given, "--delete-parts")
    finish()  # the next look may come in between
    forget(given, "--delete-parts")
    assert counts(client) == [2000, 1999, 1, 0]
    assert finish()
    assert "each input row has one output row or one error row" in run("verify", FLEET)
