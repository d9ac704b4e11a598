"""The page of the settings is complete: each environment variable has its row."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.env import ROOT, Env

PAGE = ROOT / "docs" / "reference" / "settings.md"
ROWS = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| .+ \|$", PAGE.read_text(), re.MULTILINE))


def shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, Path):
        return f"`{value.relative_to(ROOT)}` in the checkout"
    return "empty" if value == "" else f"`{value}`"


@pytest.mark.parametrize("name", sorted(Env.model_fields))
def test_each_variable_has_its_row_with_its_default(name: str) -> None:
    field = Env.model_fields[name]
    variable = str(field.validation_alias or f"PODFLEET_{name.upper()}")
    assert variable in ROWS, f"{variable} has no row in {PAGE.name}"
    assert ROWS[variable] == shown(field.default)
