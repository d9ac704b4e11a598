"""Which files are searched for conditions, by which tests they are tried, and what is excused."""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutations.conditionals.instrumenting import instrumented
from tests.mutations.conditionals.mutant import Mutant
from tests.mutations.conditionals.scripts import mutants_of

SEARCHED: Final = ("pods", "fleet/tick", "fleet/alerts")
LEFT_OUT: Final = ("pods/emulators", "pods/admin", "pods/migrations", "pods/management")
EXCUSED: Final = Path(__file__).with_name("excused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file with its conditions."""

    file: str
    first_place: int  # the number of its first place
    places: Sequence[str]  # their names
    rewritten: str
    mutants: Sequence[Mutant]


def sources(root: Path, folder: str) -> list[Source]:
    """Every file that is searched; the rewritten ones import the probe from `folder`."""
    found, number, place = list[Source](), 0, 0
    for path in files(root):
        text, file = path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()
        places = list[str]()
        if path.suffix == ".py":
            rewritten, mutants, places = instrumented(text, file, folder, first=number, place=place)
        else:
            rewritten, mutants = text, mutants_of(text, file, first=number)
        found.append(
            Source(
                file=file, first_place=place, places=places, rewritten=rewritten, mutants=mutants
            )
        )
        number, place = number + len(mutants), place + len(places)
    return found


def files(root: Path) -> Iterator[Path]:
    """The Python modules and Lua scripts that are searched, in order."""
    for searched in SEARCHED:
        for path in sorted((root / searched).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.suffix in {".py", ".lua"} and not name.startswith(LEFT_OUT):
                yield path


def below(mutants: Iterable[Mutant], paths: Sequence[str]) -> list[Mutant]:
    """The mutants of these files and folders, in their order; all of them without paths."""
    everything = list(mutants)
    if not paths:
        return everything
    wanted = [path.rstrip("/") for path in paths]
    return [
        mutant
        for path in wanted
        for mutant in everything
        if mutant.file == path or mutant.file.startswith(f"{path}/")
    ]


def excused() -> dict[str, str]:
    """The reason of each mutant that may survive, by its name."""
    return {
        name: entry["because"]
        for file in sorted(EXCUSED.glob("*.toml"))
        for entry in tomllib.loads(file.read_text(encoding="utf-8")).get("excused", [])
        for name in entry["mutants"]
    }
