"""What runs leave for later runs: what each test saw, and how the trial of each mutant ended."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.mutations.conditionals.mutant import Mutant

# The tests that a script may be noticed by are those that met this module.
CALLERS: Final = {
    "pods/agent/scripts": "pods/agent/stream.py",
    "pods/providers/reserve.lua": "pods/providers/pacing.py",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How the trial of one mutant ended."""

    became: str  # caught, missed, or unmet: no test saw what it would have to see
    by: str = ""
    ran: int = 0  # how many tests ran
    might: int = 0  # how many tests might have noticed
    seconds: float = 0.0
    stamp: str = ""


@dataclass(slots=True)
class Seen:
    """What each test saw: the names of places, each with the value there."""

    stamps: dict[str, str] = field(default_factory=dict)  # of the test files
    tests: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, paths: Sequence[str]) -> "Seen":
        """What the tests in these folders saw."""
        folders = tuple(f"{path.rstrip('/')}/" for path in paths)
        ours = {name: test for name, test in self.tests.items() if name.startswith(folders)}
        return Seen(self.stamps, ours)

    def stale(self, stamps: Mapping[str, str]) -> list[str]:
        """The new and the changed test files."""
        return [file for file, stamp in stamps.items() if self.stamps.get(file) != stamp]

    def add(self, file: str, tests: Sequence[Mapping[str, Any]], places: Sequence[str]) -> None:
        """Keep what the tests of a file saw."""
        for name in [name for name in self.tests if name.partition("::")[0] == file]:
            del self.tests[name]
        for test in tests:
            self.tests[test["test"]] = {
                "seconds": test["seconds"],
                "failed": test["failed"],
                "saw": [f"{places[int(word[:-1])]}{word[-1]}" for word in test["saw"]],
            }


class Witnesses:
    """Knows which tests may notice a mutant: the tests that passed, by what they saw."""

    def __init__(self, seen: Seen) -> None:
        self._seconds = {name: test["seconds"] for name, test in seen.tests.items()}
        # The names of tests, by a word or the beginning of a word that they saw.
        self._met: dict[str, set[str]] = {}
        for name, test in seen.tests.items():
            for word in () if test["failed"] else test["saw"]:
                version = word.rpartition(" ")[0]
                function, file = version.rpartition("@")[0], word.partition(" ")[0]
                for part in (word, version, function, file):
                    self._met.setdefault(part, set()).add(name)

    def of(self, mutant: Mutant, places: Sequence[str]) -> list[tuple[float, str]]:
        """The tests that may notice the mutant, with their seconds, the fastest first.

        Last are tests that met only another version of its function: what they see now is not known.
        """
        if mutant.kind == "script":
            return self._fastest(self._tests(_caller(mutant.file)))
        saw, may_see = set[str](), set[str]()
        for place, value in mutant.seen_as:
            version = places[place].rpartition(" ")[0]
            saw |= self._tests(f"{places[place]}{value}")
            may_see |= self._tests(version.rpartition("@")[0]) - self._tests(version)
        return self._fastest(saw) + self._fastest(may_see - saw)

    def _fastest(self, names: set[str]) -> list[tuple[float, str]]:
        return sorted((self._seconds[name], name) for name in names)

    def _tests(self, met: str) -> set[str]:
        return self._met.get(met, set())


def _caller(script: str) -> str:
    return next(caller for start, caller in CALLERS.items() if script.startswith(start))


def load_seen(path: Path) -> Seen:
    """What earlier runs recorded."""
    kept = _loaded(path)
    return Seen(kept.get("stamps", {}), kept.get("tests", {}))


def save_seen(path: Path, seen: Seen) -> None:
    """Keep what was recorded."""
    _save(path, {"stamps": seen.stamps, "tests": seen.tests})


def load_trials(path: Path) -> dict[str, Trial]:
    """The trials of earlier runs, by the name of the mutant."""
    return {name: Trial(**words) for name, words in _loaded(path).items()}


def save_trials(path: Path, trials: Mapping[str, Trial]) -> None:
    """Keep the trials."""
    _save(path, {name: asdict(trial) for name, trial in trials.items()})


def again(mutants: Iterable[Mutant], trials: Mapping[str, Trial]) -> Iterator[Mutant]:
    """The mutants that were not caught before, or whose function has changed since."""
    for mutant in mutants:
        trial = trials.get(mutant.name)
        if trial is None or trial.became != "caught" or trial.stamp != mutant.stamp:
            yield mutant


def _loaded(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _save(path: Path, kept: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(kept, indent=0), encoding="utf-8")
    os.replace(new, path)  # noqa: PTH105
