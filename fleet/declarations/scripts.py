"""Packs the scripts and folders that a file of fleets names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fleet.code.dependencies import BadCode
from fleet.code.packing import pack
from fleet.declarations.documents import Declared, WrongDocument


def with_code(declared: Sequence[Declared], folder: Path) -> tuple[Declared, ...]:
    """The fleets with the code that they name; `folder`: of the file that declares them.

    Raises:
        WrongDocument: a script is not there or cannot work; each wrong one has a line.
    """
    wrong: list[str] = []
    found = tuple(_packed(one, folder, wrong) for one in declared)
    if wrong:
        raise WrongDocument(wrong)
    return found


def _packed(one: Declared, folder: Path, wrong: list[str]) -> Declared:
    if not one.script:
        return one
    place = f"fleets.{one.name}"
    if Path(one.script).is_absolute():
        wrong.append(f"{place}.script: write its path from this file, not an absolute one")
        return one
    path = folder / one.script
    handler = one.fields["handler"]
    if path.is_dir() and not handler:
        wrong.append(
            f"{place}.handler: is missing; {one.script} is a folder, so say what to call, as "
            'handler = "module:function"'
        )
        return one
    try:
        packed = pack(path, handler)
    except BadCode as exc:
        wrong.append(f"{place}.script: {exc}")
        return one
    return replace(one, packed=packed, fields={**one.fields, "handler": packed.handler})
