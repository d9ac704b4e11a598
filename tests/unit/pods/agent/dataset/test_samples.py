"""The lines at the beginning of a file, from which its rows are estimated."""

import gzip

import pytest

from pods.agent.dataset import samples
from pods.agent.dataset.formats import source_format
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.samples import rows_at, sample
from pods.agent.dataset.stores import Place, place
from pods.agent.ranges import Compression, Format, Source
from tests.support.dataset_files import source_of

GZIP = Compression.GZIP


@pytest.fixture
def file(tmp_path) -> Place:
    return place(tmp_path.as_uri()).at("l")


def put(file: Place, content: bytes, compression=Compression.NONE, format=Format.TEXT) -> Source:
    file.put(content)
    return source_of(file, format, compression)


def test_a_sample_has_the_whole_lines_of_the_beginning(file, monkeypatch):
    monkeypatch.setattr(samples, "SAMPLE_BYTES", 25)
    assert sample(file, put(file, b"0123456789\n" * 10)) == ([b"0123456789"] * 2, 22)
    assert sample(file, put(file, b"a\nb")) == ([b"a", b"b"], 3)
    assert sample(file, put(file, b"")) == ([], 0)


def test_a_line_that_is_longer_than_the_sample_is_one_line(file, monkeypatch):
    monkeypatch.setattr(samples, "SAMPLE_BYTES", 25)
    assert sample(file, put(file, b"x" * 100)) == ([b"x" * 25], 26)


def test_a_packed_file_is_sampled_to_the_end_of_what_can_be_unpacked(file, monkeypatch):
    first, second = gzip.compress(b"a\nb"), gzip.compress(b"c\nd")
    whole = put(file, first + second, GZIP)
    assert sample(file, whole) == ([b"a", b"bc", b"d"], len(first + second))
    monkeypatch.setattr(samples, "SAMPLE_BYTES", len(first))
    assert sample(file, whole) == ([b"a"], len(first))  # the end of its last line is not known


def test_a_sample_may_end_in_the_middle_of_a_block(file, monkeypatch):
    monkeypatch.setattr(samples, "PIECE_BYTES", 10)
    text = b"".join(b"line %d\n" % n for n in range(5000))
    raw = gzip.compress(text)
    monkeypatch.setattr(samples, "SAMPLE_BYTES", len(raw) - 20)
    monkeypatch.setattr(samples, "MOST_PIECES", 100_000)
    lines, taken = sample(file, put(file, raw, GZIP))
    assert (lines[0], taken) == (b"line 0", len(raw) - 20)
    with pytest.raises(BadInput, match="cannot be unpacked as gzip"):
        sample(file, put(file, raw[:-20], GZIP))  # the file itself ends there


def test_no_more_than_some_pieces_are_unpacked(file, monkeypatch):
    monkeypatch.setattr(samples, "PIECE_BYTES", 10)
    monkeypatch.setattr(samples, "MOST_PIECES", 2)
    lines, _ = sample(file, put(file, gzip.compress(b"line\n" * 3 + b"longer\n" * 3), GZIP))
    assert lines == [b"line"] * 3 + [b"longer"] * (len(lines) - 3)
    assert len(b"\n".join(lines)) <= 20


def test_a_long_file_that_is_not_packed_is_refused(file, monkeypatch):
    monkeypatch.setattr(samples, "SAMPLE_BYTES", 25)
    with pytest.raises(BadInput, match="cannot be unpacked as gzip"):
        sample(file, put(file, b"not packed at all, and long enough", GZIP))


@pytest.mark.parametrize(
    ("content", "by_bytes", "starts"),
    [
        (b"a\n\nbc\nd", True, [0, 3, 6]),
        (b"a\n\nbc\nd", False, [0, 2, 3]),
        (b"a\n  ", True, [0]),
        (b"a\n  ", False, [0]),
        (b"\xef\xbb\xbf\na", True, [4]),
        (b"\xef\xbb\xbf", True, []),
        (b"a\n\xef\xbb\xbf\nb", True, [0, 2, 6]),
        (b"", True, []),
    ],
)
def test_each_row_begins_at_a_byte_or_has_a_number(file, content, by_bytes, starts):
    assert list(rows_at(file, put(file, content), by_bytes=by_bytes)) == starts


def test_rows_of_a_packed_file_are_those_of_its_text(file, monkeypatch):
    monkeypatch.setattr(samples, "READ_BYTES", 4)
    source = put(file, gzip.compress(b"a\n\nlong line\nd"), GZIP)
    assert list(rows_at(file, source, by_bytes=False)) == [0, 2, 3]


def test_a_file_of_blank_lines_says_nothing_of_its_columns(file):
    counted = source_format(Format.JSONL).count(file, put(file, b"\n\n", format=Format.JSONL))
    assert counted.columns is None


@pytest.mark.parametrize("content", [b'{"a": 1}\n\n{"b": 2, "a": 3}\n', b'[1]\n{"a": 1, "b": 2}\n'])
def test_the_columns_of_json_lines_are_the_keys_of_the_first_ones(file, content):
    counted = source_format(Format.JSONL).count(file, put(file, content, format=Format.JSONL))
    assert counted.columns == ["a", "b"]


def test_a_file_of_which_most_lines_are_no_objects_is_refused(file):
    source = put(file, b'{"a": 1}\n\n[1]\noops\n', format=Format.JSONL)
    why = r"2 of the first 3 lines are not JSON objects: line 3 is a list$"
    with pytest.raises(BadInput, match=why):
        source_format(Format.JSONL).count(file, source)


def test_the_lines_of_a_packed_list_are_estimated_and_those_of_a_plain_one_are_counted(file):
    of = source_format(Format.OBJECTS)
    names = b"".join(b"image-%d.jpg\n" % n for n in range(2000))
    plain = of.count(file, put(file, names, format=Format.OBJECTS))
    assert (plain.rows, plain.exact, plain.columns) == (2000, True, ())
    packed = of.count(file, put(file, gzip.compress(names), GZIP, Format.OBJECTS))
    assert (packed.exact, packed.columns) == (False, ())
    assert 1000 < packed.rows < 4000
    assert of.count(file, put(file, b"a\nb", format=Format.OBJECTS)).rows == 2
