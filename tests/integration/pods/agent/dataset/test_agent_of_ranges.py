"""Real agents that work on ranges: parts, errors, receipts and counts."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pods.agent.ranges import PartFormat
from tests.support.dataset_files import cut, put_lines, whole
from tests.support.rigs.dataset_rig import table_at, texts


@pytest.mark.parametrize("handler", ["length", "column_lengths"])
def test_a_dataset_becomes_parts_with_receipts(dataset, handler):
    made = texts(1000)
    ranges = cut(dataset.texts(made), 150, 400, 950)
    dataset.feed(*ranges)
    dataset.start("pod-a", handler)
    dataset.until_drained(4)
    ids = [f"t.parquet-{n}" for n in range(1000)]
    dataset.assert_each_row_once(ids)
    assert dataset.results() == dict(zip(ids, map(len, made), strict=True))
    assert {r.range for r in dataset.receipts()} == {of.id for of in ranges}
    assert dataset.parts() == {f"part-{of.id}.parquet" for of in ranges}


def test_vectors_are_fixed_size_lists(dataset):
    dataset.feed(dataset.texts(texts(10)))
    dataset.start("pod-a", "vector")
    dataset.until_drained(1)
    [part] = dataset.parts()
    assert table_at(dataset.sink.at(part)).schema == pa.schema(
        [("id", pa.string()), ("result", pa.list_(pa.float32(), 4))]
    )


@pytest.mark.parametrize(
    ("handler", "tries"),
    [
        ("refuses_bad", 3),
        ("crashes_on_bad", 2),
        ("columns_refuse_bad", 3),
        ("columns_crash_on_bad", 3),
    ],
)
def test_a_bad_row_costs_that_row_alone(dataset, handler, tries):
    made = texts(600, bad=[3, 77, 599])
    dataset.feed(dataset.texts(made))
    dataset.start("pod-a", handler)
    dataset.until_drained(1)
    dataset.assert_each_row_once([f"t.parquet-{n}" for n in range(600)])
    errors = dataset.errors()
    assert set(errors) == {"t.parquet-3", "t.parquet-77", "t.parquet-599"}
    words = "signal 11" if "crash" in handler else "ValueError: a bad row"
    assert all(words in error["error"] for error in errors.values())
    assert max(error["tries"] for error in errors.values()) <= tries
    [receipt] = dataset.receipts()
    assert (receipt.done, receipt.failed) == (597, 3)
    assert words in receipt.samples[0]


def test_a_handler_that_hangs_costs_one_row(dataset):
    dataset.feed(dataset.texts(texts(20, bad=[5])))
    dataset.start("pod-a", "hangs_on_bad", handler_timeout_seconds=1)
    dataset.until_drained(1)
    dataset.assert_each_row_once([f"t.parquet-{n}" for n in range(20)])
    assert "longer than 1 s" in dataset.errors()["t.parquet-5"]["error"]


def test_a_row_that_fails_once_is_tried_again(dataset):
    dataset.feed(dataset.texts(texts(50)))
    dataset.start("pod-a", "fails_once")
    dataset.until_drained(1)
    assert len(dataset.results()) == 50
    assert not dataset.errors()


def test_what_does_not_fit_the_first_part_is_an_error_row(dataset):
    first, second = dataset.texts(texts(20)), dataset.texts(texts(20, bad=[7]), name="u.parquet")
    dataset.feed(first, second)
    dataset.start("pod-a", "changes_its_type")
    dataset.until_drained(2)
    [error] = dataset.errors().values()
    assert error["id"] == "u.parquet-7"
    assert "is string, and the first part fixed int64" in error["error"]


def test_lines_become_lines(dataset):
    source = put_lines(
        dataset.input.at("l.jsonl"), [{"id": f"r{n}", "text": "x" * n} for n in range(100)]
    )
    of = whole(source, 7, dataset.sink.url, part_format=PartFormat.JSONL)
    dataset.feed(*cut(of, 500, 1500))
    dataset.start("pod-a", "labelled")
    dataset.until_drained(3)
    found = [
        json.loads(line)
        for receipt in dataset.receipts()
        for line in dataset.sink.at(receipt.part).get().splitlines()
    ]
    assert sorted(row["size"] for row in found) == list(range(100))
    assert {row["id"] for row in found} == {f"r{n}" for n in range(100)}
    assert dataset.rows() == {"planned": 100, "done": 100, "failed": 0}


def test_a_range_without_a_row_has_a_part(dataset):
    source = put_lines(dataset.input.at("l.jsonl"), [{"text": "x" * 1000}, {"text": "y"}])
    _, middle, _ = cut(whole(source, 1, dataset.sink.url), 100, 200)
    dataset.feed(middle)
    dataset.start("pod-a")
    dataset.until_drained(1)
    [receipt] = dataset.receipts()
    assert receipt.rows == 0
    assert dataset.rows()["planned"] == 0
    assert pq.read_metadata(pa.BufferReader(dataset.sink.at(receipt.part).get())).num_rows == 0


def test_a_line_that_is_not_json_is_an_error_row(dataset):
    file = dataset.input.at("l.jsonl")
    put_lines(file, [{"id": "a", "text": "x"}])
    file.put(file.get() + b"oops\n" + b'{"id": "b", "text": "yy"}\n')
    from pods.agent.ranges import Format
    from tests.support.dataset_files import source_of

    dataset.feed(whole(source_of(file, Format.JSONL), 3, dataset.sink.url))
    dataset.start("pod-a")
    dataset.until_drained(1)
    assert dataset.results() == {"a": 1, "b": 2}
    [error] = dataset.errors().values()
    assert "not JSON" in error["error"]
    assert error["tries"] == 0


def test_a_range_whose_file_changed_becomes_a_dead_letter_with_its_rows(dataset, until):
    good, bad = dataset.texts(texts(30)), dataset.texts(texts(40), name="u.parquet")
    dataset.texts(texts(50), name="u.parquet")
    dataset.feed(bad, good)
    dataset.start("pod-a", max_deliveries=2)
    [letter] = until(dataset.backlog.dead)
    assert b"changed" in letter[b"dead_error"]
    assert letter[b"id"] == bad.id.encode()
    dataset.until_drained(1)
    assert dataset.rows() == {"planned": 70, "done": 30, "failed": 0, "dead": 40}


def test_an_entry_that_is_not_a_range_becomes_a_dead_letter(dataset, until):
    dataset.backlog.put(b"an item")
    dataset.feed(dataset.texts(texts(5)))
    dataset.start("pod-a")
    [letter] = until(dataset.backlog.dead)
    assert b"not a range" in letter[b"dead_error"]
    dataset.until_drained(1)


def test_a_sink_that_refuses_fails_the_range(dataset, until, tmp_path):
    of = dataset.texts(texts(5))
    (tmp_path / "file").write_text("x")
    from dataclasses import replace

    dataset.feed(replace(of, sink=f"{tmp_path.as_uri()}/file"))
    dataset.start("pod-a", max_deliveries=1)
    [letter] = until(dataset.backlog.dead)
    assert b"the part could not be written" in letter[b"dead_error"]


def test_a_pod_that_fails_every_row_leaves_the_range_to_another(dataset, until):
    dataset.feed(dataset.texts(texts(300)))
    ill = dataset.start("pod-a", "fails_everything")
    until(lambda: getattr(dataset.backlog.heartbeat("pod-a"), "failing", 0) >= 32)
    assert "the last" in dataset.backlog.heartbeat("pod-a").note
    assert ill.poll() is None
    dataset.start("pod-b", "length")
    dataset.until_drained(1)
    dataset.assert_each_row_once([f"t.parquet-{n}" for n in range(300)])
    assert len(dataset.results()) == 300


def test_rows_count_in_the_heartbeat(dataset, until):
    dataset.feed(dataset.texts(texts(500)))
    dataset.start("pod-a", "slow", env={"PACE_SECONDS": "0.005"})
    beat = until(
        lambda: (b := dataset.backlog.heartbeat("pod-a")) and b.done and b.done < 450 and b
    )
    assert 0 < beat.in_flight <= 500
    assert 0 <= beat.since_ack_ms < 2000
    assert beat.rate > 0
    dataset.until_drained(1)
    until(lambda: dataset.backlog.heartbeat("pod-a").done == 500)
    until(lambda: dataset.backlog.heartbeat("pod-a").idle_ms > 0)
    assert dataset.backlog.heartbeat("pod-a").in_flight == 0
    assert dataset.backlog.heartbeat("pod-a").oldest_ms == 0
