"""What runs leave for later runs: what each test saw, and how the trial of each mutant ended."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.mutations.conditionals.finding import Source
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
    """What each test saw: by test, by file, the places with their values."""

    stamps: dict[str, str] = field(default_factory=dict)  # of test files and of files
    tests: dict[str, dict[str, Any]] = field(default_factory=dict)

    def stale(self, test_files: Iterable[str], stamps: Mapping[str, str]) -> list[str]:
        """The test files to record: changed ones, and those that met a file that has changed."""
        changed = {file for file, stamp in stamps.items() if self.stamps.get(file) != stamp}
        met: dict[str, set[str]] = {}
        for name, test in self.tests.items():
            met.setdefault(name.partition("::")[0], set()).update(test["saw"])
        return [file for file in test_files if file in changed or met.get(file, set()) & changed]

    def add(self, file: str, tests: Sequence[Mapping[str, Any]], sources: Sequence[Source]) -> None:
        """Keep what the tests of a file saw."""
        for name in [name for name in self.tests if name.partition("::")[0] == file]:
            del self.tests[name]
        for test in tests:
            saw: dict[str, list[str]] = {}
            for word in test["saw"]:
                source = _source_of(int(word[:-1]), sources)
                here = f"{int(word[:-1]) - source.first_place}{word[-1]}"
                saw.setdefault(source.file, []).append(here)
            self.tests[test["test"]] = {
                "seconds": test["seconds"],
                "failed": test["failed"],
                "saw": saw,
            }

    def who_may_notice(self, mutant: Mutant, source: Source) -> list[tuple[float, str]]:
        """The tests that passed and saw what this mutant changes, the fastest first."""
        wanted = {f"{place - source.first_place}{value}" for place, value in mutant.seen_as}
        found = []
        for name, test in self.tests.items():
            if test["failed"]:
                continue
            if mutant.kind == "script":
                meets = _caller(mutant.file) in test["saw"]
            else:
                meets = bool(wanted.intersection(test["saw"].get(mutant.file, ())))
            if meets:
                found.append((test["seconds"], name))
        return sorted(found)


def _caller(script: str) -> str:
    return next(caller for start, caller in CALLERS.items() if script.startswith(start))


def _source_of(place: int, sources: Sequence[Source]) -> Source:
    return next(source for source in reversed(sources) if source.first_place < place)


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
