"""Rows of ranges: each row of a file is in exactly one range, and bad input is said."""

import gzip
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.agent.dataset import lines, rows, shaping, stores, tables, work
from pods.agent.dataset.reading import chunks
from pods.agent.ranges import Compression, Format
from tests.support.dataset_files import cut, packed, put_lines, put_table, source_of, whole
from tests.support.examples import examples


@pytest.fixture
def folder(tmp_path) -> stores.Place:
    return stores.place(tmp_path.as_uri())


def read(of, *, columnar=False):
    found = []
    for chunk in chunks(of, columnar=columnar):
        made = chunk.rows.to_pylist() if columnar else chunk.rows
        assert len(made) == len(chunk.ids) == len(chunk.ends)
        for n, own_id in enumerate(chunk.ids):
            found.append((own_id, chunk.bad.get(n) or made[n]))
    return found


def ids(of, **how):
    return [own_id for own_id, _ in read(of, **how)]


@pytest.mark.parametrize("columnar", [False, True])
def test_a_range_of_a_table_has_its_rows_and_no_others(folder, columnar):
    source = put_table(
        folder.at("t.parquet"), {"id": list(range(1000)), "text": [f"x{n}" for n in range(1000)]}
    )
    of = whole(source, 1000).rest(150, 1).until(420, 1)
    assert ids(of, columnar=columnar) == [str(n) for n in range(150, 420)]
    [first, *_] = read(of, columnar=columnar)
    if columnar:
        assert first[1] == {"id": "150", "text": "x150"}
    else:
        assert first[1] == {b"id": b"150", b"text": b"x150", b"payload": b"x150"}


def test_only_the_row_groups_and_columns_of_a_range_are_read(folder, monkeypatch):
    source = put_table(
        folder.at("t.parquet"),
        {"id": list(range(1000)), "text": ["x"] * 1000, "wide": ["y" * 1000] * 1000},
    )
    asked = []
    real = tables.pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        tables.pq.ParquetFile,
        "read_row_group",
        lambda self, n, columns: asked.append((n, columns)) or real(self, n, columns=columns),
    )
    of = whole(source, 1000, columns=("text",)).rest(250, 1).until(301, 1)
    [_, (_, item), *_] = read(of)
    assert item == {b"id": b"251", b"text": b"x", b"payload": b"x"}
    assert asked == [(2, ["id", "text"]), (3, ["id", "text"])]


def test_values_of_a_table_are_fields(folder):
    source = put_table(
        folder.at("t.parquet"),
        {"n": [1, None], "v": [[1.5, 2], []], "b": [b"\x00", b""], "s": ["é", "x"]},
    )
    [(first, item), (second, other)] = read(whole(source, 2))
    assert (first, second) == (f"{folder.at('t.parquet').key}:0", f"{folder.at('t.parquet').key}:1")
    assert item[b"n"] == b"1"
    assert json.loads(item[b"v"]) == [1.5, 2]
    assert item[b"b"] == b"\x00"
    assert item[b"s"] == "é".encode()
    assert json.loads(item[b"payload"])["n"] == "1"
    assert b"n" not in other


def test_a_missing_column_names_those_that_are_there(folder):
    source = put_table(folder.at("t.parquet"), {"id": [1], "text": ["x"]})
    with pytest.raises(rows.BadInput, match="no column 'body'; it has id, text"):
        read(whole(source, 1, columns=("body",)))
    with pytest.raises(rows.BadInput, match="no column 'key'"):
        read(whole(source, 1, id_column="key"))


def test_a_file_that_is_not_parquet_is_said(folder):
    folder.at("t.parquet").put(b"PAR1 not really")
    with pytest.raises(rows.BadInput, match="cannot be read as Parquet"):
        read(whole(source_of(folder.at("t.parquet"), Format.PARQUET), 1))


@pytest.mark.parametrize("name", ["t.parquet", "l.jsonl", "z.jsonl.gz"])
def test_a_file_that_changed_since_it_was_planned_is_noticed(folder, name):
    if name == "t.parquet":
        source = put_table(folder.at(name), {"id": [1, 2]})
        put_table(folder.at(name), {"id": [3, 4, 5]})
    else:
        packing = Compression.GZIP if name.endswith("gz") else Compression.NONE
        source = put_lines(folder.at(name), [{"id": 1}], packing)
        put_lines(folder.at(name), [{"id": 2}, {"id": 3}], packing)
    with pytest.raises(stores.Changed):
        read(whole(source, 2))


@pytest.mark.parametrize("name", ["t.parquet", "l.jsonl"])
def test_a_missing_file_is_missing(folder, name):
    made = put_table if name == "t.parquet" else put_lines
    source = made(folder.at(name), {"id": [1]} if name == "t.parquet" else [{"id": 1}])
    folder.at(name).delete()
    with pytest.raises(stores.Missing):
        read(whole(source, 1))


@settings(max_examples=examples(200))
@given(data=st.data())
def test_each_line_is_in_exactly_one_range_wherever_the_cuts_are(tmp_path_factory, data):
    folder = stores.place(tmp_path_factory.mktemp("lines").as_uri())
    texts = data.draw(st.lists(st.text("ab \r", max_size=12), max_size=12))
    end = data.draw(st.sampled_from(["", "\n"]))
    folder.at("t.txt").put(("\n".join(texts) + end).encode())
    source = source_of(folder.at("t.txt"), Format.TEXT)
    bounds = sorted(data.draw(st.sets(st.integers(1, max(1, source.size)), max_size=6)))
    small = data.draw(st.integers(1, 5))
    before = lines.PIECE_BYTES, lines.BEYOND_BYTES
    lines.PIECE_BYTES, lines.BEYOND_BYTES = small, small
    try:
        found = [item[b"payload"] for of in cut(whole(source, 1), *bounds) for _, item in read(of)]
        names = [own_id for of in cut(whole(source, 1), *bounds) for own_id in ids(of)]
    finally:
        lines.PIECE_BYTES, lines.BEYOND_BYTES = before
    wanted = [text.rstrip("\r").encode() for text in texts if text.strip()]
    assert found == wanted
    assert len(set(names)) == len(names)
    assert names == ids(whole(source, 1))


def test_a_range_within_a_long_line_has_no_rows_and_reads_little(folder, monkeypatch):
    folder.at("t.txt").put(b"a\n" + b"x" * 5_000_000 + b"\nb\n")
    source = source_of(folder.at("t.txt"), Format.TEXT)
    read_of, real = [], stores.Place.range
    monkeypatch.setattr(
        stores.Place,
        "range",
        lambda self, at, end, etag="": read_of.append(end - at) or real(self, at, end, etag),
    )
    assert ids(whole(source, 1).rest(1_000, 1).until(2_200, 1)) == []
    assert sum(read_of) <= 1_201 + lines.BEYOND_BYTES
    read_of.clear()
    long_one = whole(source, 1).until(100, 1)
    assert [len(item[b"payload"]) for _, item in read(long_one)] == [1, 5_000_000]
    assert len(read_of) < 12  # few requests, though its end was to be found


@pytest.mark.parametrize("columnar", [False, True])
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_a_line_that_is_too_long_is_the_only_bad_row(folder, monkeypatch, columnar, compression):
    monkeypatch.setattr(lines, "LONGEST_LINE", 1_000)
    monkeypatch.setattr(lines, "PIECE_BYTES", 300)
    texts = [b'{"id": 1}', b'{"id": "%s"}' % (b"x" * 2_000), b'{"id": 3}', b'{"id": 4}']
    folder.at("l.jsonl").put(packed(b"\n".join(texts), compression))
    of = whole(source_of(folder.at("l.jsonl"), Format.JSONL, compression), 4)
    found = read(of, columnar=columnar)
    assert [isinstance(row, str) for _, row in found] == [False, True, False, False]
    assert found[1][1] == "this line has more than 1,000 bytes"
    assert [own_id for own_id, _ in found][2:] == ["3", "4"]


@pytest.mark.parametrize("columnar", [False, True])
def test_a_rest_begins_where_a_row_ended(folder, columnar):
    source = put_lines(folder.at("l.jsonl"), [{"id": n, "text": "x" * n} for n in range(20)])
    [chunk] = chunks(whole(source, 20), columnar=columnar)
    for n, end in enumerate(chunk.ends[:-1]):
        before, after = cut(whole(source, 20), end)
        assert ids(before) == [str(i) for i in range(n + 1)]
        assert ids(after) == [str(i) for i in range(n + 1, 20)]


@pytest.mark.parametrize("columnar", [False, True])
def test_a_line_that_is_not_json_is_the_only_bad_row(folder, columnar):
    folder.at("l.jsonl").put(b'{"id": "a", "text": "x"}\n{oops\n[1]\n\n{"id": "b", "text": "y"}')
    source = source_of(folder.at("l.jsonl"), Format.JSONL)
    found = dict(read(whole(source, 4), columnar=columnar))
    key = folder.at("l.jsonl").key
    assert set(found) == {"a", f"{key}@25", f"{key}@31", "b"}
    assert "not JSON" in found[f"{key}@25"]
    assert "not a JSON object" in found[f"{key}@31"]


def test_a_value_of_another_type_is_a_bad_row_of_a_batch(folder):
    source = put_lines(folder.at("l.jsonl"), [{"id": 1, "n": 1}, {"id": 2, "n": "x"}])
    [(_, first), (_, second)] = read(whole(source, 2), columnar=True)
    assert first == {"id": "1", "n": 1}
    assert "'n' is a str" in second


# What one line may hold that no handler can get, whether it is so for handlers of columns alone, and
# what is said of it.
HALF = "half a surrogate pair ('\\ud800'), which is not text"
ODD_LINES = [
    (rb'{"id": "a", "text": "\ud800"}', False, HALF),
    (rb'{"id": "a", "text": "x", "k\ud800": 1}', False, HALF),
    (rb'{"id": "a", "text": "x", "o": [{"\udc80": "\ud800"}]}', False, "half a surrogate pair"),
    (
        b'{"id": "a", "text": "x", "n": 99999999999999999999}',
        True,
        "'n': a number of more than 64 bits",
    ),
    (
        b'{"id": "a", "text": "x", "o": ' + b"[" * 200 + b"]" * 200 + b"}",
        True,
        "'o': a value that is nested too deeply",
    ),
    (b'{"id": "a", "text": "x", "o": [1, "two"]}', True, "'o': Could not convert 'two'"),
]


@pytest.mark.parametrize("columnar", [False, True])
@pytest.mark.parametrize(("line", "of_columns", "said"), ODD_LINES)
def test_what_one_line_holds_never_ends_its_range(folder, line, of_columns, said, columnar):
    folder.at("l.jsonl").put(
        b"\n".join([line, b'{"id": 1, "text": "x"}', b'{"id": 2, "text": "y"}'])
    )
    of = whole(source_of(folder.at("l.jsonl"), Format.JSONL), 3)
    [chunk] = chunks(of, columnar=columnar)
    assert list(chunk.ids) == ["a", "1", "2"]
    assert list(chunk.bad) == ([0] if columnar or not of_columns else [])
    assert all(said in why for why in chunk.bad.values())
    batch = work.Slot(chunk, 0, 3).first_batch()  # as it goes to the handler's process
    assert list(batch.numbers) == ([1, 2] if chunk.bad else [0, 1, 2])


def test_the_message_about_half_a_surrogate_pair_can_be_written_anywhere(folder):
    folder.at("l.jsonl").put(b'{"id": "\\ud800", "text": "\\ud83d"}\n{"\\ud800": 1}\n')
    source = source_of(folder.at("l.jsonl"), Format.JSONL)
    for columns in [(), ("text",)]:
        [chunk] = chunks(whole(source, 2, columns=columns), columnar=False)
        assert chunk.ids[0] == "\\ud800"
        assert "half a surrogate pair ('\\ud83d')" in chunk.bad[0]
        assert set(chunk.bad) == {0, 1}
        assert all(text.encode() for text in [*chunk.bad.values(), *chunk.ids])


@pytest.mark.parametrize("column", ["day", "id"])
def test_a_value_of_a_table_that_cannot_be_read_is_a_bad_row(folder, column):
    days = pa.array([0, 10_000_000, 1], pa.int32()).cast(pa.date32())  # the second: after 9999
    source = put_table(folder.at("t.parquet"), {column: days, "text": ["x", "y", "z"]})
    found = read(whole(source, 3))
    assert [isinstance(row, str) for _, row in found] == [False, True, False]
    assert "cannot be read" in found[1][1]


def test_values_of_one_family_stay_together_and_the_most_count(folder):
    values = ["x", 1, 2.5, {"a": 1}, {"b": 2}, 3, 4]
    bad: dict[int, str] = {}
    assert shaping.column_of(values, "n", bad).to_pylist() == [None, 1, 2.5, None, None, 3, 4]
    assert set(bad) == {0, 3, 4}
    both = [{"a": 1}, {"b": 2}, {"a": "x"}, {"a": 3}, 7]
    bad = {}
    made = shaping.column_of(both, "o", bad).to_pylist()
    assert made == [{"a": 1, "b": None}, {"a": None, "b": 2}, None, {"a": 3, "b": None}, None]
    assert set(bad) == {2, 4}


LARGE = 10**20  # in no column


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([None, None, 1, "x"], [None, None, 1, None]),
        ([LARGE, LARGE, "x"], [None, None, "x"]),
        ([LARGE] * 3 + [1, 0.5, 2**53 + 1], [None] * 3 + [1, None, 2**53 + 1]),
        ([[1], ["x"], [True], "y", "y"], [[1], None, None, None, None]),
        ([0.5, False, 1], [0.5, None, 1.0]),
        ([0.5, True, False], [None, True, False]),
    ],
)
def test_a_column_has_the_values_of_the_type_that_most_have(values, column):
    bad: dict[int, str] = {}
    assert shaping.column_of(values, "n", bad).to_pylist() == column
    assert all(
        (n in bad) == (values[n] is not None and one is None) for n, one in enumerate(column)
    )


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_compressed_lines_are_cut_by_rows(folder, compression):
    source = put_lines(folder.at("l"), [{"id": n} for n in range(50_000)], compression)
    of = whole(source, 50_000).rest(40_000, 1).until(45_000, 1)
    assert ids(of) == [str(n) for n in range(40_000, 45_000)]


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_a_compressed_file_of_several_pieces_is_read_to_its_end(folder, compression):
    folder.at("l").put(packed(b'{"id": 1}\n', compression) + packed(b'{"id": 2}\n', compression))
    assert ids(whole(source_of(folder.at("l"), Format.JSONL, compression), 2)) == ["1", "2"]


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_a_compressed_file_that_ends_too_early_is_said(folder, compression):
    text = b"".join(b'{"id": %d}\n' % n for n in range(100_000))
    folder.at("l").put(packed(text, compression)[:-100])
    with pytest.raises(rows.BadInput, match="cannot be unpacked"):
        read(whole(source_of(folder.at("l"), Format.JSONL, compression), 1))


@pytest.mark.parametrize("columnar", [False, True])
def test_the_rows_of_a_list_are_the_bytes_of_its_objects(folder, columnar):
    for n in range(100):
        folder.at(f"images/{n}.jpg").put(b"%d" % n * 10)
    folder.at("images/70.jpg").delete()
    urls = [folder.at(f"images/{n}.jpg").url for n in range(90)]
    urls += [f"images/{n}.jpg" for n in range(90, 100)]
    folder.at("list.txt").put("\n".join(urls).encode())
    of = whole(source_of(folder.at("list.txt"), Format.OBJECTS), 100).rest(50, 1)
    found = read(of, columnar=columnar)
    key = folder.at("list.txt").key
    assert [own_id for own_id, _ in found] == [f"{key}:{n}" for n in range(50, 100)]
    assert "does not exist" in found[20][1]
    name = "payload" if columnar else b"payload"
    assert [row[name] for _, row in found if isinstance(row, dict)] == [
        b"%d" % n * 10 for n in range(50, 100) if n != 70
    ]


@pytest.mark.parametrize("line", ["file:///a\0b", "http://[::1", "..", "x" * 5_000])
def test_an_address_that_is_none_is_a_bad_row_of_a_list(folder, line):
    folder.at("a").put(b"x")
    folder.at("list.txt").put(f"a\n{line}\na".encode())
    found = read(whole(source_of(folder.at("list.txt"), Format.OBJECTS), 3))
    assert [isinstance(row, str) for _, row in found] == [False, True, False]


def test_a_line_of_a_list_that_is_too_long_is_a_bad_row(folder, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    monkeypatch.setattr(lines, "PIECE_BYTES", 10)
    folder.at("a").put(b"x")
    folder.at("list.txt").put(b"a\n" + b"a" * 101 + b"\na")
    found = read(whole(source_of(folder.at("list.txt"), Format.OBJECTS), 3))
    assert [isinstance(row, str) for _, row in found] == [False, True, False]
    assert found[1][1] == "this line has more than 100 bytes"


def test_gzip_of_a_table_is_not_parquet(folder):
    folder.at("t").put(gzip.compress(b"x"))
    with pytest.raises(rows.BadInput):
        read(whole(source_of(folder.at("t"), Format.PARQUET), 1))


def test_a_batch_for_columns_has_its_ids_first():
    batch = pa.RecordBatch.from_pydict({"text": ["x"], "key": [7]})
    assert rows.with_ids(batch, ["7"], "key").to_pylist() == [{"id": "7", "text": "x"}]
