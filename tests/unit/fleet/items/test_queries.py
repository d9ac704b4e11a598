"""Any value that SQLite can hold becomes an item, or an error that names the row."""

import sqlite3
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet.items.queries import ItemQuery
from fleet.items.source import BadInput
from tests.support.examples import examples

TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXT,
    st.binary(max_size=6),
    st.sampled_from(
        ["", "id", "\x00", "a\x00b", "é", "ﬀ", "'", '"', "%s", "$1", "NULL", "1", "1.0"]
    ),
)
KEYS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), TEXT, st.sampled_from(["", "\x00", "1", "A", "a", 1, -1])
)
COLUMNS = st.lists(
    st.sampled_from(["payload", "text", "id", "reply_to", "x"]), max_size=4, unique=True
)


def a_database(folder: Path, name: str, rows: list[tuple[Any, ...]], columns: list[str]) -> str:
    path = folder / f"{name}.sqlite3"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        names = ", ".join(f'"{column}"' for column in ["key", *columns])
        connection.execute(f"CREATE TABLE odd ({names})")
        marks = ", ".join("?" * (len(columns) + 1))
        connection.executemany(f"INSERT INTO odd VALUES ({marks})", rows)
    return f"sqlite:///{path}"


@settings(max_examples=examples(500), deadline=None)
@given(data=st.data(), columns=COLUMNS, keys=st.lists(st.one_of(KEYS, VALUES), max_size=8))
@example(data=None, columns=["payload"], keys=[float("inf")])
def test_any_row_becomes_an_item_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: Any, columns: list[str], keys: list[Any]
) -> None:
    rows = [(key, *(data.draw(VALUES) if data else "x" for _ in columns)) for key in keys]
    url = a_database(tmp_path_factory.getbasetemp(), "whatever", rows, columns)
    query = ItemQuery("SELECT * FROM odd", url=url, key="key")
    items, refusal = [], None
    try:
        query.check()
        items = list(query)
    except BadInput as exc:
        refusal = str(exc)
    if refusal is not None:
        assert "\n" not in refusal
        assert "key" in refusal
        return
    assert len(items) == len(rows) == query.total()
    assert all(isinstance(value, bytes) for item in items for value in item.values())
    assert all(item["id"] for item in items) or "" in keys
    by_key = {str(key).encode(): row for key, *row in rows}
    if columns == ["payload"] and len(by_key) == len(rows):
        for item in items:
            [value] = by_key[item["id"]]
            if isinstance(value, (str, bytes)):
                assert item["payload"] == (value if isinstance(value, bytes) else value.encode())


@settings(max_examples=examples(500), deadline=None)
@given(keys=st.lists(KEYS, max_size=9, unique=True), taken=st.integers(0, 9))
def test_a_reader_that_continues_a_query_reads_each_row_once(
    tmp_path_factory: pytest.TempPathFactory, keys: list[int | str], taken: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    url = a_database(folder, "resumed", [(key, "x") for key in keys], ["text"])
    first = ItemQuery("SELECT key, text FROM odd", url=url, key="key")
    items = list(islice(first, taken))
    second = ItemQuery("SELECT key, text FROM odd", url=url, key="key")
    assert second.go_to(first.position)
    second.check()
    assert second.count_left() == len(keys) - len(items)
    items += list(second)
    assert sorted(item["id"] for item in items) == sorted(str(key).encode() for key in keys)


def test_text_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    url = a_database(tmp_path, "bytes", [(1, "x")], ["payload"])
    query = ItemQuery(
        "SELECT key, CAST(x'636166e9' AS TEXT) AS payload FROM odd", url=url, key="key"
    )
    assert [item["payload"] for item in query] == [b"caf\xe9"]
    whole = ItemQuery("SELECT key, CAST(x'e9' AS TEXT) AS x FROM odd", url=url, key="key")
    assert [item["payload"] for item in whole] == [b'{"key": 1, "x": "\xe9"}']
