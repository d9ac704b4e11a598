"""Each row of a Parquet file becomes one item, however often feeding is interrupted."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis

from fleet.items.feeding import BadInput, enqueue
from fleet.items.tables import ItemTable
from tests.support.items import GROUP, STREAM, ids, numbered


def written(folder: Path, columns: dict[str, Any], name: str = "a.parquet") -> Path:
    path = folder / name
    pq.write_table(pa.table(columns), path, row_group_size=400)
    return path


def test_each_row_is_an_item_with_the_fields_of_its_columns(
    client: redis.Redis, tmp_path: Path
) -> None:
    columns = {
        "text": ["ü", None, "z"],
        "id": [7, 8, None],
        "reply_to": [None, "r", ""],
        "blob": [b"1", b"2", b"3"],
    }
    assert enqueue(client, STREAM, GROUP, [written(tmp_path, columns)]).added == 3
    first, second, third = [fields for _, fields in client.xrange(STREAM)]
    assert first == {b"id": b"7", b"payload": "ü".encode()}
    assert second[b"reply_to"] == b"r"
    assert second[b"payload"].startswith(b'{"text": null')  # no payload: the whole row
    assert third == {b"id": b"a.parquet:3", b"payload": b"z"}


def test_bytes_stay_bytes(client: redis.Redis, tmp_path: Path) -> None:
    enqueue(client, STREAM, GROUP, [written(tmp_path, {"payload": [b"\x00\xff"]})])
    assert client.xrange(STREAM)[0][1][b"payload"] == b"\x00\xff"


@pytest.mark.parametrize("rows", [0, 1, 399, 400, 401, 1_000, 1_500, 2_500])
def test_a_reader_continues_at_any_row(tmp_path: Path, rows: int) -> None:
    path = written(tmp_path, {"text": [str(n) for n in range(2_500)]})
    first = ItemTable(path)
    reading = iter(first)
    for _ in range(rows):
        next(reading)
    second = ItemTable(path)
    assert second.go_to(first.position)
    assert second.count_left() == 2_500 - rows
    second.check()
    assert [f["payload"] for f in second] == [str(n).encode() for n in range(rows, 2_500)]


def test_the_same_file_is_not_added_again_and_a_changed_file_is(
    client: redis.Redis, tmp_path: Path
) -> None:
    path = written(tmp_path, {"text": [str(n) for n in range(1_200)]})
    assert enqueue(client, STREAM, GROUP, [path], max_length=2_000).added == 1_200
    assert enqueue(client, STREAM, GROUP, [path]).added == 0
    written(tmp_path, {"text": ["another"]})
    assert enqueue(client, STREAM, GROUP, [path]).added == 1
    assert ids(client) == [*numbered("a.parquet", 1, 1_200), "a.parquet#2:1"]


def test_a_file_that_is_not_parquet_is_refused(client: redis.Redis, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_text("no table")
    for bad in (path, tmp_path / "none.parquet"):
        with pytest.raises(BadInput, match=r"not a Parquet file|no such file"):
            enqueue(client, STREAM, GROUP, [bad])
    assert not client.exists(STREAM)


NO_UTF8 = pa.Array.from_buffers(
    pa.string(),
    2,
    [None, pa.py_buffer(bytes([0, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0])), pa.py_buffer(b"\xff\xfeok")],
)
AFTER_9999 = pa.array([0, 2**62], pa.timestamp("us"))


@pytest.mark.fault(58)
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"text": NO_UTF8}, r"a\.parquet, in rows 1 to 2: 'utf-8' codec"),
        ({"text": ["a", "b"], "at": AFTER_9999}, r"a\.parquet, in rows 1 to 2: date value"),
    ],
)
def test_an_error_names_a_value_that_cannot_be_read_and_nothing_is_added(
    client: redis.Redis, tmp_path: Path, columns: Any, words: str
) -> None:
    good = tmp_path / "good.txt"
    good.write_text("x\n")
    with pytest.raises(BadInput, match=words):
        enqueue(client, STREAM, GROUP, [good, written(tmp_path, columns)])
    assert not client.exists(STREAM)


def test_two_columns_with_the_same_name_are_refused(client: redis.Redis, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)
    with pytest.raises(BadInput, match=r"a\.parquet has several columns 'text'"):
        enqueue(client, STREAM, GROUP, [path])


@pytest.mark.parametrize("spoilt", ["cut short", "bytes turned", "empty"])
def test_an_error_names_a_damaged_file_and_nothing_is_added(
    client: redis.Redis, tmp_path: Path, spoilt: str
) -> None:
    path = written(tmp_path, {"text": [str(n) for n in range(2_000)]})
    raw = bytearray(path.read_bytes())
    if spoilt == "bytes turned":
        raw[100:400:7] = bytes(byte ^ 0xFF for byte in raw[100:400:7])
    path.write_bytes({"cut short": raw[: len(raw) // 2], "empty": b""}.get(spoilt, raw))
    with pytest.raises(BadInput, match=r"a\.parquet"):
        enqueue(client, STREAM, GROUP, [path])
    assert not client.exists(STREAM)


def test_bytes_inside_a_row_become_text_or_base64(client: redis.Redis, tmp_path: Path) -> None:
    enqueue(client, STREAM, GROUP, [written(tmp_path, {"a": [b"caf\xc3\xa9"], "b": [b"\xff"]})])
    assert client.xrange(STREAM)[0][1][b"payload"] == '{"a": "café", "b": "/w=="}'.encode()
