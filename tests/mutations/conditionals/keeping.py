"""What runs leave for later runs: what each test saw, and how the trial of each mutant ended."""

import json
import os
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from tests.mutations.conditionals.mutant import Mutant

# The tests that a script may be noticed by are those that met this module.
CALLERS: Final = {
    "pods/agent/scripts": "pods/agent/stream.py",
    "pods/providers/reserve.lua": "pods/providers/pacing.py",
}
UNLIKELY: Final = 5.0  # so many times dearer is a test that may not even see the value that changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How the trial of one mutant ended."""

    became: str  # caught, missed, or unmet: no test saw what it would have to see
    by: str = ""
    ran: int = 0  # how many tests ran
    might: int = 0  # how many tests might have noticed
    seconds: float = 0.0
    stamp: str = ""
    # The tests that passed with the change, each with the stamp of its file.
    passed: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Seen:
    """What each test saw: the names of places, each with the value there."""

    stamps: dict[str, str] = field(default_factory=dict)  # of the test files
    tests: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, paths: Sequence[str]) -> "Seen":
        """What the tests in these folders and files saw."""
        folders = tuple(path if path.endswith(".py") else f"{path.rstrip('/')}/" for path in paths)
        ours = {name: test for name, test in self.tests.items() if name.startswith(folders)}
        return Seen(self.stamps, ours)

    def stale(self, stamps: Mapping[str, str]) -> list[str]:
        """The new and the changed test files."""
        return [file for file, stamp in stamps.items() if self.stamps.get(file) != stamp]

    def slow(self, most_seconds: float) -> set[str]:
        """The tests that take longer."""
        return {name for name, test in self.tests.items() if test["seconds"] > most_seconds}

    def passed(self, mutant: Mutant, trial: Trial | None) -> dict[str, str]:
        """The tests that passed with this change before, and have not changed since."""
        if trial is None or trial.stamp != mutant.stamp:
            return {}
        return {
            test: stamp
            for test, stamp in trial.passed.items()
            if self.stamps.get(test.partition("::")[0]) == stamp
        }

    def add(
        self,
        file: str,
        tests: Sequence[Mapping[str, Any]],
        places: Sequence[str],
        left_out: Container[str] = (),
    ) -> None:
        """Keep what the tests of a file saw; those that were left out keep what they saw before."""
        for name in [name for name in self.tests if name.partition("::")[0] == file]:
            if name not in left_out:
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

    def of(self, mutant: Mutant, places: Sequence[str]) -> dict[str, float]:
        """What each test that may notice the mutant costs, the cheapest first.

        It costs its seconds. Of the cases of one test, each later one costs as much more. Much dearer
        are tests that met another value, and those that met only another version of the function.
        """
        if mutant.kind == "script":
            return self._cheapest(self._tests(_caller(mutant.file)))
        saw, may_see = list[set[str]](), set[str]()
        for place, value in mutant.seen_as:
            version = places[place].rpartition(" ")[0]
            saw.append(self._tests(f"{places[place]}{value}"))
            may_see |= self._tests(version.rpartition("@")[0]) - self._tests(version)
        likely = saw[0] if saw else set[str]()
        unlikely = may_see.union(*saw) - likely
        dearer = {name: UNLIKELY * cost for name, cost in self._cheapest(unlikely).items()}
        return self._cheapest(likely) | dearer

    def seconds(self, names: Iterable[str]) -> dict[str, float]:
        """How long each of these tests takes."""
        return {name: self._seconds[name] for name in names}

    def _cheapest(self, names: set[str]) -> dict[str, float]:
        cases, costs = Counter[str](), dict[str, float]()
        for seconds, name in sorted((self._seconds[name], name) for name in names):
            test = name.partition("[")[0]
            cases[test] += 1
            costs[name] = seconds * cases[test]
        return dict(sorted(costs.items(), key=itemgetter(1)))

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


def again(mutants: Iterable[Mutant], trials: Mapping[str, Trial]) -> list[Mutant]:
    """The mutants that were not tried as they are now, then those that were not caught."""
    new, survived = list[Mutant](), list[Mutant]()
    for mutant in mutants:
        trial = trials.get(mutant.name)
        if trial is None or trial.stamp != mutant.stamp:
            new.append(mutant)
        elif trial.became != "caught":
            survived.append(mutant)
    return [*new, *survived]


def _loaded(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _save(path: Path, kept: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(kept, indent=0), encoding="utf-8")
    os.replace(new, path)  # noqa: PTH105
