"""Imports a fleet's code in a child process before the fleet gets it, and says what that showed."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fleet.code.packing import Packed
from fleet.code.trying import PREPARE, Child, in_child, placed

SECONDS: Final = 30.0  # torch took 4 to 12 s to import on a laptop
TRY: Final = "`fleet check` installs what it needs and tries the handler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import showed."""

    wrong: str = ""  # what is wrong on every machine; "": nothing is known
    said: str = ""  # for people, where nothing is wrong


def import_code(
    packed: Packed, variables: Mapping[str, str], *, seconds: float = SECONDS
) -> Imported:
    """Import the module of the handler. `variables`: the fleet's handler_env. No secret is given.

    Only what the code itself does wrong is wrong: a missing function, or an import of its own files
    that fails. This machine may lack a GPU, secrets or packages that a pod has.
    """
    job = {
        **placed(packed.digest, packed.archive),
        "handler": packed.handler,
        "secrets": {},
        "import_alone": True,
    }
    child = in_child(job, ["-c", PREPARE, job["wheel"]], variables, seconds)
    return _of(packed, child, seconds)


def _of(packed: Packed, child: Child, seconds: float) -> Imported:
    if child.answer is None:
        why = (
            f"it did not end within {seconds:g} s"
            if child.status is None
            else f"it ended the process with {child.status}"
        )
        return Imported(
            said=f"not imported: at import {why}. A module must end its import and leave the work to "
            "the handler"
        )
    said = child.answer
    if said["step"] == "done":
        where = "here" if said["built"] else "in the Python of the manager"
        return Imported(said=f"imported {where}: {packed.handler} is there")
    if said["step"] == "install":
        return Imported(said=f"not imported here: {said['error']}")
    return _failed(packed, said)


def _failed(packed: Packed, said: Mapping[str, Any]) -> Imported:
    error = str(said["error"])
    if said["absent"]:
        return Imported(wrong=f"after its import the code has no {packed.handler}: {error}")
    if error.startswith(("SyntaxError", "IndentationError", "TabError")):
        return Imported(wrong=f"the code cannot be imported: {error}")
    named = (said["import_of"] or "").partition(".")[0]
    if named and named in own_modules(packed.archive):
        return Imported(wrong=f"the code cannot import a file of its own: {error}")
    if said["missing"]:
        there = "in its environment" if said["built"] else "in the Python of the manager"
        mend = "add its package to the dependencies, unless your image has it" * bool(said["built"])
        return Imported(
            said=f"not imported here: the module {said['missing']} is not {there}; {mend or TRY}"
        )
    if error.startswith("SystemExit"):
        return Imported(said="not imported: it ends the process at import, which no pod survives")
    return Imported(
        said=f"not imported here: {error}. Secrets and a GPU may be missing here; {TRY}"
    )


def own_modules(archive: bytes) -> Sequence[str]:
    """The modules and packages that the code has at its top."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        names = [name.removeprefix("src/") for name in opened.namelist() if name.endswith(".py")]
    return sorted({name.partition("/")[0].removesuffix(".py") for name in names})
