"""Which item a row becomes."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.items.files import LONGEST_LINE
from fleet.items.rows import item_of
from fleet.items.source import BadInput
from tests.support.examples import examples

VALUE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(codec="utf-8"), max_size=4),
        st.binary(max_size=4),
        st.decimals(),
        st.datetimes(),
        st.timedeltas(),
        st.uuids(),
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
ROW = st.dictionaries(st.sampled_from(["payload", "text", "id", "reply_to", "x"]), VALUE)


def an_item(row: dict[str, Any]) -> dict[str, bytes]:
    payload = next((name for name in ("payload", "text") if name in row), None)
    return item_of(row, payload=payload, own_id=b"own", where="row 7")


@settings(max_examples=examples(500), deadline=None)
@given(row=ROW)
def test_any_row_becomes_an_item_or_an_error_that_names_the_row(row: dict[str, Any]) -> None:
    item, refusal = {}, ""
    try:
        item = an_item(row)
    except BadInput as exc:
        refusal = str(exc)
    assert bool(item) != refusal.startswith("row 7: ")
    assert all(isinstance(value, bytes) for value in item.values())
    assert not item or item["id"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (UUID(int=7), b"00000000-0000-0000-0000-000000000007"),
        (Decimal("1.50"), b"1.50"),
        (datetime(2026, 1, 1, tzinfo=UTC), b"2026-01-01 00:00:00+00:00"),
        (7, b"7"),
        ("", b"own"),
        (None, b"own"),
        (b"\xff", b"\xff"),
        ([1, "a"], b'[1, "a"]'),
    ],
)
def test_an_id_is_the_printed_value(value: Any, name: bytes) -> None:
    assert an_item({"id": value, "payload": "x"})["id"] == name


@pytest.mark.fault(58)
def test_an_error_names_a_value_that_is_too_long_for_a_server() -> None:
    with pytest.raises(BadInput, match="row 7: payload is longer than 268,435,456 bytes"):
        an_item({"payload": bytes(LONGEST_LINE + 1)})
