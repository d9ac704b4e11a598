"""Which formats exist, and what a package of a third party may not do."""

import io

import pyarrow as pa
import pytest

from pods.agent.dataset import formats
from pods.agent.dataset.formats import UnknownFormat, sink_format, source_format
from pods.agent.dataset.reading import chunks
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.stores import place
from pods.agent.ranges import Compression, Format, Source, Unit
from tests.support import third_party
from tests.support.dataset_files import source_of, whole

RAISES = """
class Bad:
    suffixes, packed = (".bad",), False
    def count(self, file, source): raise AttributeError
    chunks = unit = starts = ids = first_rows = count
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    def put(package, points, source="", *, example=False):
        if example:
            folder = third_party.put_example(tmp_path)
        else:
            folder = third_party.put_package(tmp_path, package, points, source)
        monkeypatch.syspath_prepend(folder)

    with third_party.leaves_nothing_imported(tmp_path):
        yield put
    formats.source_format.cache_clear()
    formats.sink_format.cache_clear()


def test_each_format_of_ours_can_be_loaded_and_lacks_nothing():
    for name in ("parquet", "jsonl", "text", "objects"):
        made = source_format(name)
        assert all(hasattr(made, needed) for needed in formats._SOURCES.needs)
    for name in ("parquet", "jsonl"):
        made = sink_format(name)
        assert all(hasattr(made, needed) for needed in formats._SINKS.needs)


@pytest.mark.parametrize(
    ("format", "compression", "unit"),
    [
        (Format.JSONL, Compression.NONE, Unit.BYTES),
        (Format.TEXT, Compression.NONE, Unit.BYTES),
        (Format.JSONL, Compression.GZIP, Unit.LINES),
        (Format.TEXT, Compression.ZSTD, Unit.LINES),
        (Format.PARQUET, Compression.NONE, Unit.ROWS),
        (Format.OBJECTS, Compression.NONE, Unit.LINES),
    ],
)
def test_only_plain_files_of_lines_are_cut_by_bytes(format, compression, unit):
    assert source_format(format).unit(Source("file:///a", "1", 9, format, compression)) is unit


@pytest.mark.parametrize(("find", "what"), [(source_format, "source"), (sink_format, "sink")])
def test_an_unknown_format_is_named_with_those_that_are_known(find, what):
    with pytest.raises(
        UnknownFormat,
        match=f"{what} format 'arow' is not known here; known: jsonl.*parquet.*the image",
    ):
        find("arow")


@pytest.mark.parametrize(
    ("points", "source", "said"),
    [
        ("acme:Missing", "", "of acme cannot be loaded: AttributeError: module 'acme' has no"),
        ("acme:Good", "import acme_needs_this", "ModuleNotFoundError: No module named 'acme_needs"),
        ("acme:Good", "1 / 0", "cannot be loaded: ZeroDivisionError"),
        ("acme:Good", "class Good: suffixes = ()", "of acme lacks packed, count, chunks, unit"),
        (
            "acme:Good",
            "from pods.agent.dataset.formats import SourceFormat as S\nclass Good(S): suffixes = ()",
            "cannot be loaded: TypeError: Can't instantiate abstract class Good with.*chunks",
        ),
    ],
)
def test_a_package_that_is_of_no_use_says_why(install, points, source, said):
    install("acme", f"[podfleet.sources]\nmine = {points}", source)
    with pytest.raises(UnknownFormat, match=f"the source format 'mine' .*{said}"):
        source_format("mine")


def test_two_packages_with_one_name_are_refused_with_both(install):
    for package in ("one", "two"):
        install(package, f"[podfleet.sinks]\navro = {package}:Avro")
    with pytest.raises(UnknownFormat, match="'avro' comes from one, two; uninstall all but one"):
        sink_format("avro")


@pytest.mark.parametrize("name", ["Avro", "a.b", "9x"])
def test_a_name_that_cannot_be_a_suffix_is_refused(install, name):
    install("acme", f"[podfleet.sinks]\n{name} = acme:Avro", "class Avro: pass")
    with pytest.raises(UnknownFormat, match="of acme: a name has at most 40 characters a-z"):
        sink_format(name)


def test_a_suffix_belongs_to_one_format_and_ours_to_us(install):
    source = RAISES.replace('".bad",', '".odd", ".parquet"')
    install("one", "[podfleet.sources]\none = one:Bad", source)
    assert (formats.by_suffix(".odd"), formats.by_suffix(".parquet")) == ("one", "parquet")
    assert formats.by_suffix(".unknown") is None
    install("two", "[podfleet.sources]\ntwo = two:Bad", source)
    with pytest.raises(UnknownFormat, match=r"\.odd is the suffix of one, two; name the format"):
        formats.by_suffix(".odd")


def test_a_fault_of_a_third_party_is_bad_input(install, tmp_path):
    install("acme", "[podfleet.sources]\nbad = acme:Bad", RAISES)
    (tmp_path / "a.bad").write_bytes(b"x")
    of = whole(source_of(place((tmp_path / "a.bad").as_uri()), "bad"), 1)
    with pytest.raises(BadInput, match=r"a\.bad cannot be read as bad: TypeError"):
        list(chunks(of, columnar=True))


def test_the_example_of_the_page_reads_what_it_writes(install, tmp_path):
    install(third_party.EXAMPLE, "", example=True)
    rows = pa.table({"id": [f"r{n}" for n in range(10)], "text": ["a", "b"] * 5})
    writer = sink_format("arrow").writer(rows.schema)
    assert writer.add_table(rows.column("id").to_pylist(), rows) == {}
    file = tmp_path / "t.arrow"
    file.write_bytes(writer.close())
    there = place(file.as_uri())
    assert sink_format("arrow").table(there, file.stat().st_size, "").equals(rows)
    assert list(sink_format("arrow").ids(there, file.stat().st_size))[-1] == "r9"
    source = source_of(there, "arrow")
    assert source_format("arrow").count(there, source).rows == 10
    of = whole(source, 10).until(8, 3).rest(5, 3)
    [chunk] = chunks(of, columnar=True)
    assert (chunk.ids, list(chunk.ends)) == (["r5", "r6", "r7"], [6, 7, 8])
    assert chunk.rows.column("text").to_pylist() == ["b", "a", "b"]
    file.write_bytes(io.BytesIO(b"not arrow").getvalue())
    with pytest.raises(BadInput, match="is not an Arrow file"):
        list(chunks(whole(source_of(there, "arrow"), 1), columnar=False))
