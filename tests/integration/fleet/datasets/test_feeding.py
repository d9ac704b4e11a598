"""`fleet feed` adds each range once, and names bad input before it queues anything."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from django.core.management.base import CommandError

from fleet.datasets import feeding, finishing
from fleet.datasets.coverage import bounds, missing
from fleet.datasets.feeding import Request, Told
from fleet.models import Dataset, Fleet
from pods.agent.dataset import schema, stores
from pods.agent.ranges import ERRORS_FOLDER, PartName, Range
from tests.support.datasets import (
    FLEET,
    STREAM,
    bury,
    entries,
    finish,
    on_the_stream,
    take,
    work,
    write_lines,
    write_parquet,
)
from tests.support.factories import a_fleet
from tests.support.fleet_command import run
from tests.support.object_store import BUCKET, READER_KEY, READER_SECRET, ObjectStore, place


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Two files with 10,000 rows together."""
    write_parquet(tmp_path / "in" / "a.parquet", 6000)
    write_parquet(tmp_path / "in" / "b.parquet", 4000, first=6000)
    return tmp_path


def feed(given: Path, *more: object) -> dict[str, object]:
    found = run(
        "feed", FLEET, f"file://{given}/in/*.parquet", "--into", f"file://{given}/out",
        "--rows-per-range", 1000, "--json", *more,
    )  # fmt: skip
    told: dict[str, object] = json.loads(found)
    return told


def queued(client: redis.Redis) -> list[Range]:
    return [Range.parse(fields) for _, fields in entries(client)]


def counts(client: redis.Redis) -> dict[str, int]:
    names = ("planned", "done", "failed", "dead")
    found = client.hmget(f"podfleet:{FLEET}:rows", names)
    return {n: int(v) for n, v in zip(names, found, strict=True) if v is not None}  # type: ignore[arg-type]


def put_part(of: Range, *, start: int | None = None, end: int | None = None) -> PartName:
    """Write a part as an agent does, but empty: planning reads names only."""
    name = PartName(
        of.source.key, of.start if start is None else start, of.end if end is None else end
    )
    stores.place(of.sink).at(str(name)).put(b"")
    return name


def test_an_input_without_rows_is_said(fleet: Fleet, client: redis.Redis, tmp_path: Path) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", 0)
    said = run("feed", FLEET, f"file://{tmp_path}/in/*.parquet", "--into", f"file://{tmp_path}/out")
    assert "no rows: 1 input file without any; nothing was queued" in said
    assert queued(client) == []


def test_ranges_go_onto_the_stream_once(fleet: Fleet, client: redis.Redis, given: Path) -> None:
    told = feed(given, "--columns", "id,text", "--id-column", "id")
    assert (told["files"], told["rows"], told["ranges_added"]) == (2, 10_000, 10)
    ranges = queued(client)
    assert sum(r.rows for r in ranges) == 10_000
    assert {(r.columns, r.id_column, r.sink) for r in ranges} == {
        (("id", "text"), "id", f"file://{given}/out/")
    }
    assert feed(given)["ranges_added"] == 0
    assert len(on_the_stream(client)) == 10
    dataset = Dataset.objects.get()
    assert (dataset.sink, dataset.files.count()) == (f"file://{given}/out/", 2)


def test_a_dry_run_shows_what_would_be_added_and_changes_nothing(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    told = feed(given, "--dry-run")
    assert (told["rows"], told["ranges_missing"]) == (10_000, 10)
    assert told["first_rows"] == [{"id": f"r{n}", "text": f"text {n}"} for n in range(3)]
    assert client.keys() == []
    assert not Dataset.objects.exists()
    assert list((given / "out").iterdir()) == []
    shown = run("feed", FLEET, f"file://{given}/in/", "--into", f"file://{given}/out", "--dry-run")
    assert "2 files, 10,000 rows" in shown
    assert "2 ranges with 10,000 rows would be added to ranges; nothing was queued" in shown
    assert '{"id": "r0", "text": "text 0"}' in shown


def test_what_is_in_hand_dead_or_finished_is_not_added_again(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    feed(given)
    first, second, _third = take(client, 3)
    put_part(queued(client)[0])
    finish(client, first, done=1000)
    bury(client, second)
    assert feed(given)["ranges_added"] == 0
    assert feed(given, "--rows-per-range", 700)["ranges_added"] == 0


def test_after_a_lost_redis_only_what_has_no_part_is_added(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    feed(given)
    ranges = queued(client)
    put_part(ranges[0])
    put_part(ranges[1], end=ranges[1].start + 300)  # a beginning, which a drain wrote
    put_part(ranges[1], end=ranges[1].start + 200)  # an older try of it
    client.flushall()
    told = feed(given)
    assert (told["ranges_added"], told["rows_added"]) == (9, 8700)
    covered = [bounds(r.start, r.end) for r in queued(client) if r.source == ranges[0].source]
    kept = [(0, 1000), (1000, 1300)]
    assert missing((0, 6000), [*covered, *kept]) == []
    assert counts(client) == {"planned": 10_000, "done": 1300, "failed": 0, "dead": 0}


def test_after_a_lost_redis_the_counts_and_the_schema_are_those_of_the_sink(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    write_lines(given / "in" / "c.jsonl", 700)
    words = ("feed", FLEET, f"file://{given}/in/", "--into", f"file://{given}/out")
    run(*words, "--rows-per-range", 1000)
    source = Dataset.objects.get().files.get(format="jsonl").source
    work(client, most=3, failed=[5, 6, 1005])
    uncommitted = work(client, most=1, commit=False)
    put_lines_part(Range(source, 0, None, 700, f"file://{given}/out/").until(source.size, 700), 700)
    before = counts(client)
    assert (before["done"], before["failed"]) == (2997, 3)
    run(*words, "--rows-per-range", 1000)
    assert counts(client) == before | {"planned": 10_700, "dead": 0}  # nothing was lost
    client.flushall()
    assert feeding.stream_of(fleet).take_over().counts.planned is None
    assert counts(client) == {}  # a feed that is killed here leaves the depth unknown
    run(*words, "--rows-per-range", 1000)
    done = 2997 + 1000 * len(uncommitted) + 700
    known = {"planned": 10_700, "done": done, "failed": 3, "dead": 0}
    assert counts(client) == known
    kept = schema.loaded(cast("bytes", client.hget(f"podfleet:{FLEET}:rows", "schema")))
    assert kept.equals(pa.schema([("id", pa.string())]))
    run(*words, "--rows-per-range", 1000)
    assert counts(client) == known


def test_the_counts_of_a_finished_dataset_come_from_its_manifest(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    feed(given)
    work(client, failed=[5, 6, 1005])
    assert finishing.finish_dataset(Dataset.objects.get().pk)
    client.flushall()
    assert feed(given)["ranges_added"] == 0
    assert counts(client) == {"planned": 10_000, "done": 9994, "failed": 6, "dead": 0}
    assert (given / "out" / "_SUCCESS").exists()


def put_lines_part(of: Range, rows: int) -> None:
    """The part of a range of lines."""
    made = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array([f"r{n}" for n in range(rows)], pa.string())}), made)
    stores.place(of.sink).at(str(PartName.of(of, []))).put(made.getvalue())


def test_more_files_are_added_and_the_end_is_taken_back(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    feed(given)
    (given / "out" / "_SUCCESS").write_bytes(b"")
    assert feed(given)["ranges_added"] == 0
    assert (given / "out" / "_SUCCESS").exists()
    write_lines(given / "in" / "c.jsonl", 100)
    told = run("feed", FLEET, f"file://{given}/in/", "--into", f"file://{given}/out")
    assert "1 range with about 100 rows added" in told
    assert not (given / "out" / "_SUCCESS").exists()
    assert Dataset.objects.get().files.count() == 3


def bad(fleet: Fleet, why: str, url: str, sink: str, *more: object) -> None:
    with pytest.raises(CommandError, match=why):
        run("feed", fleet.name, url, "--into", sink, *more)
    assert not Dataset.objects.filter(fleet=fleet).exists()


def test_bad_input_is_named_and_nothing_is_queued(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    root, out = f"file://{given}", f"file://{given}/out"
    bad(fleet, "no file matches", f"{root}/in/*.jsonl", out)
    bad(fleet, "has no column body; it has: id, text", f"{root}/in/", out, "--columns", "body")
    (given / "in" / "c.parquet").write_bytes(b"something else")
    bad(fleet, "c.parquet is not a Parquet file", f"{root}/in/", out)
    bad(fleet, "lies in the sink", f"{root}/in/a.parquet", f"{root}/in")
    bad(fleet, "also takes in the parts", f"{root}/", out)
    bad(fleet, "parts cannot be written there", f"{root}/in/a.parquet", "https://host/folder/")
    bad(fleet, "give 1 or more", f"{root}/in/a.parquet", out, "--rows-per-range", 0)
    (given / "file").write_bytes(b"")
    bad(fleet, "sink .* cannot be written", f"{root}/in/a.parquet", f"{root}/file/out")
    assert client.keys() == []


def test_a_sink_of_another_fleet_is_refused(fleet: Fleet, client: redis.Redis, given: Path) -> None:
    other = a_fleet(name="other", backlog="dataset", stream="others")
    feed(given)
    for sink in ("out", "out/deeper", ""):
        with pytest.raises(CommandError, match=f"the fleet {FLEET} writes its parts into"):
            run(
                "feed",
                other.name,
                f"file://{given}/in/a.parquet",
                "--into",
                f"file://{given}/{sink}",
            )
    with pytest.raises(CommandError, match="a fleet has one sink"):
        run("feed", FLEET, f"file://{given}/in/a.parquet", "--into", f"file://{given}/new")


def test_a_link_to_the_sink_of_another_fleet_is_refused(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    other = a_fleet(name="other", backlog="dataset", stream="others")
    (given / "link").symlink_to(given / "out")  # also before the folder exists
    feed(given)
    (given / "below").symlink_to(given)
    for sink in ("link", "link/deeper", "below/out"):
        with pytest.raises(CommandError, match=f"{FLEET} writes its parts into .* leads there"):
            run(
                "feed",
                other.name,
                f"file://{given}/in/a.parquet",
                "--into",
                f"file://{given}/{sink}",
            )


def test_an_input_that_a_link_shows_within_the_sink_is_refused(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    (given / "link").symlink_to(given / "in")
    bad(fleet, "lies in the sink", f"file://{given}/in/a.parquet", f"file://{given}/link")


def test_a_file_that_changed_since_it_was_planned_is_refused(
    fleet: Fleet, client: redis.Redis, given: Path
) -> None:
    feed(given)
    write_parquet(given / "in" / "a.parquet", 5000)
    with pytest.raises(CommandError, match=r"a\.parquet has changed since it was planned"):
        feed(given)


def test_a_fleet_with_another_backlog_is_refused(given: Path, db: None) -> None:
    other = a_fleet(name="other", stream="others")
    bad(
        other,
        "needs a fleet with the backlog `dataset`",
        f"file://{given}/in/",
        f"file://{given}/out",
    )


@pytest.mark.parametrize("line", ["record", "remove_ends", "first_step"])
def test_a_crash_at_any_line_is_made_good_by_the_next_call(
    fleet: Fleet,
    client: redis.Redis,
    given: Path,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = Request(
        urls=[f"file://{given}/in/*.parquet"], sink=f"file://{given}/out", rows_per_range=1000
    )

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    def killed_after(act: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*words: object, **more: object) -> object:
            act(*words, **more)
            raise Killed

        return wrapped

    told = Told()
    with monkeypatch.context() as patch:
        if line == "record":
            patch.setattr(feeding, "_record", killed_after(feeding._record))
        elif line == "remove_ends":
            patch.setattr("fleet.datasets.sinks.remove_ends", kill)
        else:
            patch.setattr("fleet.datasets.standing.AT_ONCE", 3)
            told = Told(ranges=kill)
        with pytest.raises(Killed):
            feeding.feed(fleet, request, told=told)
    feed(given)
    assert len(set(on_the_stream(client))) == len(on_the_stream(client)) == 10
    assert client.hget(f"podfleet:{FLEET}:rows", "planned") == b"10000"


@pytest.mark.takes(15)
def test_a_dataset_on_s3(fleet: Fleet, client: redis.Redis, given: Path, s3: ObjectStore) -> None:
    for name in ("a", "b"):
        place(s3, f"in/{name}.parquet").put((given / "in" / f"{name}.parquet").read_bytes())
    url, out = f"s3://{BUCKET}/in/*.parquet", f"s3://{BUCKET}/out/"
    bad(fleet, "no bucket or folder has this name", "s3://no-such-bucket/a/*.parquet", out)
    bad(fleet, "no file matches", f"s3://{BUCKET}/in/*.jsonl", out)
    bad(fleet, "sink .* cannot be written", url, "s3://no-such-bucket/out/")
    told = json.loads(run("feed", FLEET, url, "--into", out, "--rows-per-range", 1000, "--json"))
    assert (told["rows"], told["ranges_added"]) == (10_000, 10)
    ranges = queued(client)
    put_part(ranges[3])
    place(s3, f"out/{ERRORS_FOLDER}/{PartName(ranges[4].source.key, 0, 10)}").put(b"")
    client.delete(STREAM, f"podfleet:{FLEET}:rows")
    assert (
        json.loads(run("feed", FLEET, url, "--into", out, "--rows-per-range", 1000, "--json"))[
            "ranges_added"
        ]
        == 9
    )


@pytest.mark.takes(15)
def test_a_key_that_may_not_write_is_named(
    fleet: Fleet, given: Path, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(s3, "in/a.parquet").put((given / "in" / "a.parquet").read_bytes())
    for name, value in s3.environment(READER_KEY, READER_SECRET).items():
        monkeypatch.setenv(name, value)
    stores._store.cache_clear()
    bad(fleet, "cannot be written", f"s3://{BUCKET}/in/", f"s3://{BUCKET}/out/")
    stores._store.cache_clear()
