"""The page of the fleets is true: each field has its row with its default."""

import re
from typing import Any

import pytest
from django.db.models import NOT_PROVIDED

from config.env import ROOT
from fleet import operating
from fleet.decision.values import Wanted
from fleet.models import Fleet

PAGE = (ROOT / "docs" / "reference" / "fleets.md").read_text()
ROWS = dict(re.findall(r"^\| `([a-z_]+)` \| (.+?) \| .+ \|$", PAGE, re.MULTILINE))


def shown(field: Any) -> str:
    value = field.default
    if value is NOT_PROVIDED:
        return "empty" if field.null else "none"
    if callable(value):
        return "`{}`"
    if isinstance(value, str):
        return f"`{value}`" if value else "empty"
    return f"{value:g}"


@pytest.mark.parametrize("name", operating.EDITABLE)
def test_each_field_has_its_row_with_its_default(name: str) -> None:
    assert ROWS[name] == shown(Fleet._meta.get_field(name))


def test_the_page_has_every_key_of_an_offer_query() -> None:
    assert [key for key in Wanted.__slots__ if f"| `{key}` |" not in PAGE] == []
