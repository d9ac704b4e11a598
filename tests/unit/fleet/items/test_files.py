"""Which items the lines of a file become."""

import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.items.files import ItemFile
from fleet.items.source import BadInput
from tests.support.examples import examples


def a_file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def items_of(path: Path, **options: Any) -> list[dict[str, bytes]]:
    return list(ItemFile(path, **options))


def test_each_line_of_a_text_file_is_an_item_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a.txt", b"\xef\xbb\xbfone\r\n\n  \t\n two words \nlast")
    assert items_of(path) == [
        {"id": b"a.txt:1", "payload": b"one"},
        {"id": b"a.txt:4", "payload": b" two words "},
        {"id": b"a.txt:5", "payload": b"last"},
    ]


def test_a_line_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a.txt", b"caf\xe9\n\x00\xff\n")
    assert [item["payload"] for item in items_of(path)] == [b"caf\xe9", b"\x00\xff"]


def test_an_object_may_give_a_payload_an_id_and_a_reply_stream(tmp_path: Path) -> None:
    objects = [
        {"payload": "p", "id": "x", "reply_to": "r:1"},
        {"text": "t", "id": 7},
        {"payload": {"deep": [1]}, "id": ""},
        {"payload": None, "text": "t2", "reply_to": ""},
        {"payload": "", "id": None},
    ]
    path = a_file(tmp_path, "a.jsonl", "\n".join(map(json.dumps, objects)).encode())
    assert items_of(path) == [
        {"id": b"x", "payload": b"p", "reply_to": b"r:1"},
        {"id": b"7", "payload": b"t"},
        {"id": b"a.jsonl:3", "payload": b'{"deep": [1]}'},
        {"id": b"a.jsonl:4", "payload": b"t2"},
        {"id": b"a.jsonl:5", "payload": b""},
    ]


def test_an_object_without_a_payload_is_itself_the_payload(tmp_path: Path) -> None:
    line = '{"titre" : "café",  "n": 1e400}'.encode()
    path = a_file(tmp_path, "a.jsonl", line + b"\r\n")
    assert items_of(path) == [{"id": b"a.jsonl:1", "payload": line}]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b"[" * 100_000, "not JSON .it is nested too deeply"),
        (b'["text"]', "list, not an object"),
        (b'{"id": true}', "id is true"),
        (b'{"id": [1]}', "give text or a whole number"),
        (b'{"payload": "\\ud800"}', "half a surrogate pair"),
        (b'{"reply_to": 3}', "name a stream"),
        (b"{" + b'"x":1,' * 400 + b'"y":2}', "longer than 1,000 bytes"),
    ],
)
def test_an_error_names_a_bad_line_and_says_what_would_be_right(
    tmp_path: Path, line: bytes, words: str
) -> None:
    path = a_file(tmp_path, "a.jsonl", b'{"text": "good"}\n\n' + line + b"\n")
    limit = 200_000 if words.startswith("not JSON") else 1_000
    with pytest.raises(BadInput, match=rf"a\.jsonl:3: .*{words}"):
        ItemFile(path, longest_line=limit).check()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"x", r"use \.txt .* or \.parquet"),
        ("a.txt", b"\xff\xfeo\x00", "UTF-16; convert it to UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        ItemFile(a_file(tmp_path, name, content))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        ItemFile(tmp_path / "a.txt")


def test_a_folder_and_a_pipe_are_refused_with_what_to_give_instead(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    os.mkfifo(tmp_path / "b.txt")
    with pytest.raises(BadInput, match="is a folder; name its files"):
        ItemFile(tmp_path / "a.txt")
    with pytest.raises(BadInput, match="write the output of a pipe to -"):
        ItemFile(tmp_path / "b.txt")


def test_a_line_is_read_only_up_to_a_limit(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a.txt", b"short\n" + b"x" * 5_000)
    with pytest.raises(BadInput, match=r"a\.txt:2: longer than 1,000 bytes"):
        items_of(path, longest_line=1_000)


LINES = st.lists(st.sampled_from([b"", b" ", b"x", b"caf\xe9", b"\r", b"two\r"]), max_size=12)


@settings(max_examples=examples(500), deadline=None)
@given(lines=LINES, ended=st.booleans(), taken=st.integers(0, 12))
def test_a_reader_that_continues_a_file_reads_each_item_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool, taken: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "resumed"
    folder.mkdir(exist_ok=True)
    path = a_file(folder, "a.txt", b"\n".join(lines) + (b"\n" if ended else b""))
    first = ItemFile(path)
    items = list(islice(first, taken))
    second = ItemFile(path)
    assert second.go_to(first.position)
    assert items + list(second) == items_of(path)
    assert second.position.items == len(items_of(path))


VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(["payload", "text", "id", "reply_to", "x", ""])
OBJECT = st.dictionaries(NAMES, VALUE, max_size=4).map(lambda value: json.dumps(value).encode())


@settings(max_examples=examples(500), deadline=None)
@given(
    lines=st.lists(
        st.one_of(OBJECT, OBJECT, st.binary(max_size=9), VALUE.map(repr).map(str.encode)),
        max_size=3,
    )
)
def test_any_line_becomes_an_item_or_an_error_that_names_the_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = a_file(tmp_path_factory.getbasetemp(), "fuzzed.jsonl", b"\n".join(lines))
    items, refusal = [], None
    try:
        ItemFile(path).check()
        items = items_of(path)
    except BadInput as exc:
        refusal = str(exc)
    if refusal is not None:
        assert "fuzzed.jsonl" in refusal
        return
    assert len(items) == ItemFile(path).count_left()
    for item in items:
        assert item.keys() <= {"id", "payload", "reply_to"}
        assert item["id"]
        assert all(isinstance(value, bytes) for value in item.values())


def test_a_file_whose_beginning_has_changed_is_not_continued(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a.txt", b"one\ntwo\n")
    reader = ItemFile(path)
    next(iter(reader))
    for changed in (b"0ne\ntwo\n", b"one", b""):
        path.write_bytes(changed)
        again = ItemFile(path)
        assert not again.go_to(reader.position)
        assert again.position.offset == 0


def test_a_line_that_grew_after_it_was_read_is_refused(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a.txt", b"one\ntw")
    reader = ItemFile(path)
    list(reader)
    path.write_bytes(b"one\ntw\n")
    assert ItemFile(path).go_to(reader.position)
    path.write_bytes(b"one\ntwo\n")
    with pytest.raises(BadInput, match=r"a\.txt:2: the line was enqueued before it was complete"):
        ItemFile(path).go_to(reader.position)
