"""Rows as CSV that a spreadsheet shows as plain values, not as formulas."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

# A spreadsheet reads a text that begins like this as a formula, and a vendor may have written it.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class _Line:
    """A file for a csv writer that returns each line instead of writing it."""

    def write(self, line: str) -> str:
        return line


def csv_lines(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The names, then a line for each row; formulas become text, nested values become JSON."""
    writer: Any = csv.writer(_Line())
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        value = json.dumps(value, default=str)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
