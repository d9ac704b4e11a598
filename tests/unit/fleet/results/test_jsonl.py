"""Any result becomes one line of JSON, and the line tells an export where to continue."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet.results.entries import item_id, line
from fleet.results.jsonl import Lines
from tests.support.examples import examples

BYTES = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"",
            b"\n",
            b'", "result": "',
            b'"}\n{"id": "x',
            b"[NaN]",
            b"1e999",
            b"9" * 5_000,
            b"[" * 9_999,
            b'"\\ud800"',
            b"\xef\xbb\xbf{}",
            b"{\r\n}",
            "\u2028\u0085".encode(),
        ]
    ),
)
FIELDS = st.dictionaries(
    st.sampled_from([b"id", b"entry", b"pod", b"result", b"else", b"\xff"]), BYTES, max_size=6
)


@settings(max_examples=examples(500), deadline=None)
@given(rows=st.lists(FIELDS, min_size=1, max_size=4))
@example(rows=[{b"id": b"\n", b"result": b"\n"}])
def test_any_result_becomes_a_line_that_can_be_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[bytes, bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
    path.unlink(missing_ok=True)
    entries = [(b"%d-1" % n, fields) for n, fields in enumerate(rows, 1)]
    named = [(item_id(*row), row) for row in entries]
    out = Lines(path)
    size = out.append(named)
    raw = path.read_bytes()
    assert (len(raw), raw.count(b"\n")) == (size, len(rows))
    for read, (item, (entry, fields)) in zip(raw.splitlines(keepends=True), named, strict=True):
        assert read == line(item, entry, fields)
        about = json.loads(read)
        assert about["id"].encode() == item
        assert about["at"].encode() == entry
    [(ids, last, grown)] = out.behind(0)
    assert (list(ids), last, grown) == ([item for item, _ in named], f"{len(rows)}-1", size)
