"""Finds which Pythons a fleet's code runs on: `requires-python` of PEP 723 or pyproject.toml. Pure."""

from collections.abc import Mapping
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from fleet.code.dependencies import BadCode, table_of

# The agent runs on 3.10 and later; releases that do not exist yet may be named.
MINORS: Final = range(10, 30)
PATCHES: Final = range(40)
EXAMPLE: Final = 'write requires-python = ">=3.10"'


def of_files(files: Mapping[str, bytes], *, script: str = "") -> str:
    """What a script (by its name) or a folder requires, such as ">=3.12"; "" where it says nothing.

    Raises:
        BadCode: nobody can read it, or no Python that pods may have satisfies it.
    """
    name, table = table_of(files, script=script)
    wanted = table.get("requires-python", "")
    if not isinstance(wanted, str):
        raise BadCode(f"{name}: requires-python is {wanted!r}, which is not a text; {EXAMPLE}")
    try:
        found = SpecifierSet(wanted)
    except InvalidSpecifier as exc:
        raise BadCode(
            f"{name}: requires-python is {wanted!r}, which names no versions; {EXAMPLE}"
        ) from exc
    if any(part.operator == "===" for part in found):
        raise BadCode(f"{name}: requires-python is {wanted!r}; write == instead of ===")
    if not any(f"3.{minor}.{patch}" in found for minor in MINORS for patch in PATCHES):
        raise BadCode(
            f"{name}: requires-python is {wanted!r}, and pods have Python 3.10 or later; {EXAMPLE}"
        )
    return str(found)
