"""Rows as CSV that a spreadsheet takes for what they are."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

# A text that begins so is a formula to a spreadsheet, and a vendor may have written it.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class _Line:
    """Hands the lines of a csv writer through."""

    def write(self, line: str) -> str:
        return line


def csv_lines(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The names, then a line for each row; formulas are made text, values that nest are JSON."""
    writer: Any = csv.writer(_Line())
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        value = json.dumps(value, default=str)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
