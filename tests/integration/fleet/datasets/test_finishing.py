"""A dataset is finished once each row has a part, and whatever kills the finish, the next one ends it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import redis
from django_celery_beat.models import PeriodicTask

from fleet.datasets import finishing
from fleet.models import Dataset, Fleet
from pods.agent.dataset import stores
from pods.agent.ranges import Range
from pods.base.clock import utcnow
from tests.support.datasets import (
    FLEET,
    bury,
    commit_part,
    entries,
    put_part,
    take,
    work,
    write_parquet,
)
from tests.support.factories import a_fleet
from tests.support.fleet_command import run

BAD = {5, 1500, 1501}


@pytest.fixture
def given(fleet: Fleet, tmp_path: Path) -> Path:
    """A dataset of 4,000 rows in 4 ranges."""
    write_parquet(tmp_path / "in" / "a.parquet", 4000)
    feed(tmp_path)
    return tmp_path


def feed(given: Path) -> None:
    run(
        "feed", FLEET, f"file://{given}/in/*.parquet", "--into", f"file://{given}/out",
        "--rows-per-range", 1000,
    )  # fmt: skip


def finish() -> bool:
    return finishing.finish_dataset(Dataset.objects.get().pk)


def names(given: Path) -> set[str]:
    out = given / "out"
    return {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}


def test_a_complete_dataset_gets_its_manifest(given: Path, client: redis.Redis) -> None:
    made = work(client, failed=BAD)
    assert finish()
    assert (given / "out" / "_SUCCESS").read_text() == '{"parts": 4, "rows": 3997, "failed": 3}\n'
    rows = pq.read_table(given / "out" / "_manifest.parquet").to_pylist()
    assert [row["part"] for row in rows] == [str(name) for name in made]
    assert [row["failed"] for row in rows] == [1, 2, 0, 0]
    assert [(row["start"], row["end"]) for row in rows][-1] == (3000, 4000)
    assert {row["input"] for row in rows} == {f"file://{given}/in/a.parquet"}
    assert all(row["bytes"] == (given / "out" / row["part"]).stat().st_size for row in rows)
    dataset = Dataset.objects.get()
    assert dataset.finished_at is not None
    assert (dataset.rows_done, dataset.rows_failed, dataset.note) == (3997, 3, "")
    assert finish()


@pytest.mark.parametrize("lacks", ["in_hand", "dead", "part"])
def test_an_incomplete_dataset_says_what_is_missing(
    given: Path, client: redis.Redis, lacks: str
) -> None:
    made = work(client, most=3)
    if lacks == "in_hand":
        take(client, 1)
    elif lacks == "dead":
        bury(client, take(client, 1)[0])
    else:
        made += work(client)
        (given / "out" / str(made[0])).unlink()
    assert not finish()
    assert not {"_SUCCESS", "_manifest.parquet"} & names(given)
    expected = {
        "in_hand": "1 range wait",
        "dead": "1 range failed for good",
        "part": "has no part for rows from 0 on",
    }
    assert expected[lacks] in Dataset.objects.get().note


def test_superseded_parts_and_errors_without_a_part_are_removed(
    given: Path, client: redis.Redis
) -> None:
    (entry,) = take(client, 1)
    of = Range.parse(entries(client, entry)[0][1])
    stale = put_part(of, failed={7})  # a try that was killed before its commit
    beginning = of.until(600, 600)
    commit_part(client, entry, beginning, put_part(beginning), rest=of.rest(600, 400))
    kept = work(client)
    (given / "out" / "errors" / "part-0123456789abcdef-0-1-deadbeef.parquet").write_bytes(b"x")
    (given / "out" / "notes.txt").write_bytes(b"mine")
    assert finish()
    assert names(given) == {
        *map(str, kept), "_SUCCESS", "_manifest.parquet", "notes.txt",
        str(replace(stale, end=600, errors="")),
    }  # fmt: skip


def test_after_a_lost_redis_the_rows_come_from_the_files(given: Path, client: redis.Redis) -> None:
    work(client, failed=BAD)
    client.flushall()
    assert finish()
    assert (given / "out" / "_SUCCESS").read_text() == '{"parts": 4, "rows": 3997, "failed": 3}\n'


def test_a_part_with_too_few_rows_is_named(given: Path, client: redis.Redis) -> None:
    (name, *_) = work(client)
    write_parquet(given / "out" / str(name), 10)
    client.delete("ranges:results")
    assert not finish()
    assert f"{name} has 10 rows of 1,000" in Dataset.objects.get().note


def test_more_that_is_fed_takes_the_end_back(given: Path, client: redis.Redis) -> None:
    work(client)
    assert finish()
    write_parquet(given / "in" / "b.parquet", 500)
    feed(given)
    assert not {"_SUCCESS", "_manifest.parquet"} & names(given)
    assert Dataset.objects.get().finished_at is None
    assert not finish()
    work(client)
    assert finish()


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("line", range(6))
def test_a_kill_at_any_line_is_made_good(
    given: Path, client: redis.Redis, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(client, failed=BAD)
    left = [line]

    def counted(act: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*words: object, **more: object) -> object:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return act(*words, **more)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(stores.Place, "put", counted(stores.Place.put))
        patch.setattr(finishing, "_remove", counted(finishing._remove))
        patch.setattr(finishing, "_say_so", counted(finishing._say_so))
        patch.setattr(finishing, "utcnow", counted(finishing.utcnow))
        try:
            finish()
        except Killed:
            assert Dataset.objects.get().finished_at is None
    assert finish()
    assert (given / "out" / "_SUCCESS").read_text() == '{"parts": 4, "rows": 3997, "failed": 3}\n'


def test_a_slow_finish_that_more_was_fed_beside_takes_its_word_back(
    given: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(client)
    original = stores.Place.put
    fed: list[bool] = []

    def slow(self: stores.Place, content: object, **more: bool) -> str:
        answer = original(self, content, **more)
        if self.url.endswith("_SUCCESS") and not fed:
            fed.append(True)
            write_parquet(given / "in" / "b.parquet", 500)
            feed(given)
            original(self, content, **more)  # it arrives late
        return answer

    monkeypatch.setattr(stores.Place, "put", slow)
    assert not finish()
    assert not {"_SUCCESS", "_manifest.parquet"} & names(given)


def test_the_finish_is_scheduled(db: None) -> None:
    task = PeriodicTask.objects.get(task="fleet.finish_datasets")
    assert task.expire_seconds == 60


def test_a_part_that_comes_after_the_finish_is_removed(given: Path, client: redis.Redis) -> None:
    """A frozen agent, whose failures were others, puts its part late, and dies."""
    of = Range.parse(entries(client)[1][1])
    work(client, failed=BAD)
    assert finish()
    complete = names(given)
    late = put_part(of, failed=[1600])
    assert names(given) == complete | {str(late), late.errors_name}
    other = put_part(replace(of, source=replace(of.source, etag="another version")))
    complete |= {str(other)}
    [pk] = finishing.unfinished()
    assert finishing.finish_dataset(pk)
    assert names(given) == complete
    write_parquet(given / "in" / "b.parquet", 1000, first=4000)
    feed(given)
    work(client, commit=False)
    there = names(given)
    assert not finish()
    assert names(given) == there
    Dataset.objects.update(finished_at=utcnow() - finishing.LATE_FOR)
    assert finishing.unfinished() == []


def test_a_link_that_is_made_later_ends_no_dataset_with_the_parts_of_another(
    given: Path, client: redis.Redis
) -> None:
    fleet, of = Dataset.objects.get().fleet, Range.parse(entries(client)[1][1])
    Dataset.objects.create(
        fleet=a_fleet(name="other", backlog="dataset", stream="others"),
        sink=f"file://{given}/theirs/",
        part_format="parquet",
        fed_at=utcnow(),
    )
    work(client)
    (given / "theirs").symlink_to(given / "out")
    dataset = Dataset.objects.get(fleet=fleet)
    assert not finishing.finish_dataset(dataset.pk)
    dataset.refresh_from_db()
    assert "the fleet other writes its parts into" in dataset.note
    assert "leads there" in dataset.note
    assert not (given / "out" / "_SUCCESS").exists()
    (given / "theirs").unlink()
    assert finishing.finish_dataset(dataset.pk)
    late = put_part(of, failed=[1600])
    (given / "theirs").symlink_to(given / "out")
    assert finishing.finish_dataset(dataset.pk)
    assert str(late) in names(given)  # it may be a part of the other fleet
