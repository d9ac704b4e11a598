"""Our formats of input files. `formats.py` says what a format must have."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Union

import pyarrow as pa
import pyarrow.parquet as pq

from pods.agent.dataset import samples
from pods.agent.dataset.formats import Counted, SourceFormat
from pods.agent.dataset.lines import chunks_of_lines, cut_by_bytes, lines_of, place_of
from pods.agent.dataset.objects import chunks_of_objects
from pods.agent.dataset.rows import BadInput, Chunk, as_id
from pods.agent.dataset.stores import Place, StoreError
from pods.agent.dataset.tables import chunks_of_table
from pods.agent.json_words import why_no_json
from pods.agent.ranges import Compression, Range, Source, Unit


class Parquet(SourceFormat):
    """Files of which only the footers are read to count."""

    suffixes = (".parquet", ".pq")

    def count(self, file: Place, source: Source) -> Counted:
        """The rows, from the footer."""
        try:
            with _opened(file, source) as table:
                about = table.metadata
                names = table.schema_arrow.names
                groups = [about.row_group(n).num_rows for n in range(about.num_row_groups)]
        except StoreError:
            raise
        except (pa.ArrowException, OSError, ValueError) as exc:
            said = str(exc).partition("\n")[0]
            raise BadInput(f"{source.url} is not a Parquet file: {said}") from exc
        return Counted(sum(groups), groups=groups, columns=names)

    def chunks(self, file: Place, of: Range, *, columnar: bool) -> Iterator[Chunk]:
        """The rows, from their row groups and columns alone."""
        return chunks_of_table(file, of, columnar=columnar)

    def ids(self, file: Place, of: Range) -> Iterator[str]:
        """The ids, of which the column is read alone if the range names it."""
        only = replace(of, columns=(of.id_column,)) if of.id_column else of
        return super().ids(file, only)

    def first_rows(
        self, file: Place, of: Range, most: int
    ) -> Sequence[Union[str, Mapping[str, Any]]]:
        """The first rows of the first row group."""
        with _opened(file, of.source) as table:
            columns = [*dict.fromkeys([*of.columns, *([of.id_column] if of.id_column else [])])]
            wanted = columns if of.columns else None
            batch = next(table.iter_batches(most, columns=wanted, use_threads=False), None)
            try:
                return [] if batch is None else list(batch.to_pylist())
            except (ValueError, OverflowError):  # text that is not UTF-8, a year after 9999
                return []


def _opened(file: Place, source: Source) -> Any:
    return pq.ParquetFile(file.file(source.size, source.etag), pre_buffer=False)


class Lines(SourceFormat):
    """Files of lines."""

    suffixes: Sequence[str] = ()
    packed = True

    def unit(self, source: Source) -> Unit:
        """Bytes; a compressed file can only be read from its beginning."""
        return Unit.BYTES if cut_by_bytes(source) else Unit.LINES

    def count(self, file: Place, source: Source) -> Counted:
        """About how many rows, from the beginning of the file, and of a large one from places in it."""
        rows, lines = samples.rows_about(file, source)
        return Counted(rows, exact=False, columns=self._columns(source, lines))

    def _columns(self, source: Source, lines: Sequence[bytes]) -> Union[Sequence[str], None]:
        return None

    def starts(self, file: Place, source: Source) -> Iterator[int]:
        """The byte or the number of each line that is not blank."""
        return samples.rows_at(file, source, by_bytes=cut_by_bytes(source))

    def chunks(self, file: Place, of: Range, *, columnar: bool) -> Iterator[Chunk]:
        """The lines of a range."""
        return chunks_of_lines(file, of, columnar=columnar)

    def first_rows(
        self, file: Place, of: Range, most: int
    ) -> Sequence[Union[str, Mapping[str, Any]]]:
        """The first lines as they are."""
        lines, _ = samples.sample(file, of.source)
        return [line.decode("utf-8", "replace") for line in lines[:most]]


class JsonLines(Lines):
    """A JSON object in each line."""

    suffixes = (".jsonl", ".ndjson")

    def _columns(self, source: Source, lines: Sequence[bytes]) -> Union[Sequence[str], None]:
        """The keys of the first lines. A line that is no JSON object becomes an error row later.

        If most lines are none, the file is something else, and nothing of it is planned.
        """
        names: dict[str, None] = {}
        bad: list[str] = []
        good = 0
        for number, line in enumerate(lines[: samples.SAMPLED_LINES], start=1):
            if not line.strip():
                continue
            row = _json_object(line)
            if isinstance(row, str):
                bad.append(f"line {number} {row}")
                continue
            good += 1
            names.update(dict.fromkeys(map(as_id, row)))  # they are shown to people
        if len(bad) > good:
            of = f"{len(bad):,} of the first {len(bad) + good:,} lines are not JSON objects"
            raise BadInput(f"{source.url}: {of}: {bad[0]}")
        return [*names] or None


def _json_object(line: bytes) -> Union[dict[str, Any], str]:
    """The object of a line, or what is wrong with the line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as exc:
        return f"is not JSON: {why_no_json(exc)}"
    return row if isinstance(row, dict) else f"is a {type(row).__name__}"


class TextLines(Lines):
    """A text in each line."""

    suffixes = (".txt",)

    def _columns(self, source: Source, lines: Sequence[bytes]) -> Union[Sequence[str], None]:
        return ()


class Objects(Lines):
    """The URL of an object in each line. No suffix: a list has to be named as one."""

    def count(self, file: Place, source: Source) -> Counted:
        """The lines of the whole list; of a compressed one, about how many."""
        if source.compression is not Compression.NONE:
            return replace(super().count(file, source), columns=())
        return Counted(samples.lines_in(file, source), columns=())

    def chunks(self, file: Place, of: Range, *, columnar: bool) -> Iterator[Chunk]:
        """The bytes of the objects."""
        return chunks_of_objects(file, of, columnar=columnar)

    def ids(self, file: Place, of: Range) -> Iterator[str]:
        """The ids, without a download of each object."""
        for line in lines_of(file, of):
            yield place_of(file, of, line)
