"""What a table that people open in a spreadsheet may contain."""

import csv

import pytest

from pods.base.csv import FORMULA, csv_lines


@pytest.mark.parametrize("start", FORMULA)
def test_a_text_that_a_spreadsheet_would_run_stays_a_text(start: str) -> None:
    _, line = csv_lines(["name"], [[f"{start}cmd"]])
    [[cell]] = csv.reader([line])
    assert cell == f"'{start}cmd"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("plain", "plain"),
        (-3, "-3"),
        ({"a": [1, "x"]}, '{"a": [1, "x"]}'),
        (["=1"], '["=1"]'),
        (None, ""),
    ],
)
def test_other_values_are_written_as_they_are_and_nested_ones_as_json(
    value: object, cell: str
) -> None:
    head, line = csv_lines(["a", "b"], [[value, "x"]])
    assert list(csv.reader([head, line])) == [["a", "b"], [cell, "x"]]
