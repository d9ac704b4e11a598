"""Runs the tests of a rewritten copy of the checkout: once to record, once for each mutant."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.mutations.conditionals.finding import Source, sources
from tests.mutations.conditionals.instrumenting import stamp
from tests.mutations.conditionals.keeping import Seen, Trial, Witnesses
from tests.mutations.conditionals.mutant import Mutant
from tests.mutations.conditionals.naming import Named
from tests.mutations.lines import LINES
from tests.mutations.running import LEFT_OUT, ROOT

NEAREST: Final = (
    *("tests/unit/pods", "tests/unit/fleet", "tests/contract", "tests/integration/pods"),
    *("tests/integration/fleet/tick", "tests/integration/fleet/alerts", "tests/integration/faults"),
    *("tests/integration/fleet/management", "tests/integration/fleet/money"),
    "tests/integration/fleet/test_archiving.py",
)
ANCHOR: Final = "tests/architecture/test_tests.py"
PYTEST: Final = (
    *("-q", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider", "-n", "0"),
    *("-p", "tests.mutations.conditionals.serving", "-m", "not slow and not browser"),
    # Nobody reads why a test failed.
    *("--tb", "no", "--assert", "plain", "--show-capture", "no"),
)
STEP_SECONDS: Final = 0.1


class TestsCannotRun(Exception):
    """The session of the tests ended with an error of its own."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A trial that has not ended: what the tests that may notice cost, and which passed."""

    mutant: Mutant
    might: Mapping[str, float]
    seconds: Mapping[str, float]
    passed: dict[str, str]
    named: Collection[str]  # without the words in brackets

    @property
    def left(self) -> dict[str, float]:
        return {name: cost for name, cost in self.might.items() if name not in self.passed}

    def plan(self) -> dict[str, Any]:
        """What the session is asked to do."""
        return {
            "number": self.mutant.number,
            "file": self.mutant.file,
            "function": f"{self.mutant.file} {self.mutant.function}",
            "script": self.mutant.script,
            "costs": self.left,
            "seconds": dict(self.seconds),
            "named": sorted(self.named),
        }

    def ended(self, became: str, *, by: str = "", seconds: float = 0.0) -> Trial:
        """How it ended. What passed is not kept with a change that was caught: no other test runs."""
        return Trial(
            became=became,
            by=by,
            ran=len(self.passed) + (became == "caught"),
            might=len(self.might),
            seconds=seconds,
            stamp=self.mutant.stamp,
            passed={} if became == "caught" else self.passed,
        )


class Copy:
    """A copy of the checkout in which every mutant waits for its number."""

    def __init__(self, folder: Path, nearest: Sequence[str]) -> None:
        self.folder, self.root, self.nearest = folder, folder / "checkout", nearest
        shutil.copytree(ROOT, self.root, ignore=LEFT_OUT, symlinks=True)
        shutil.copyfile(Path(__file__).with_name("mutation_probe.py"), folder / "mutation_probe.py")
        for name, text in (("on", "-1"), ("record", "")):
            (folder / name).write_text(text)
        self.named = Named(self.root, LINES)
        self.sources: Sequence[Source] = sources(self.root, str(folder))
        self.places = [place for source in self.sources for place in source.places]
        for source in self.sources:
            (self.root / source.file).write_text(source.rewritten, encoding="utf-8")

    def test_files(self) -> list[str]:
        """The files of the nearest tests."""
        found = set[Path]()
        for near in self.nearest:
            path = self.root / near
            found.update(path.rglob("test_*.py") if path.is_dir() else [path])
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def stamps(self) -> dict[str, str]:
        """The stamp of each test file."""
        return {file: stamp((self.root / file).read_text()) for file in self.test_files()}

    def record(
        self, files: Sequence[str], seen: Seen, longest_seconds: float = math.inf
    ) -> Iterator[str]:
        """Record what the tests of these files see; yield each file when it is done.

        Tests that took longer than `longest_seconds` before do not run.
        """
        slow = seen.slow(longest_seconds)
        plan = {"do": "record", "most_seconds": 0.0, "left_out": sorted(slow)}
        for answer in self._answers(plan, files):
            seen.add(answer["file"], answer["tests"], self.places, slow)
            yield answer["file"]

    def try_out(
        self,
        mutants: Sequence[Mutant],
        seen: Seen,
        most_seconds: float,
        before: Mapping[str, Trial] = MappingProxyType({}),
    ) -> Iterator[tuple[Mutant, Trial]]:
        """Try out the mutants; yield each with how it ended.

        Tests that passed with the same change `before` do not run again, and tests that caught a change
        of the same function run first.
        """
        witnesses, open_trials = Witnesses(seen), dict[int, _Open]()
        for mutant in mutants:
            who = witnesses.of(mutant, self.places)
            passed = seen.passed(mutant, before.get(mutant.name))
            trial = _Open(mutant, who, witnesses.seconds(who), passed, self.named.of(mutant))
            if trial.left:
                open_trials[mutant.number] = trial
            else:
                yield mutant, trial.ended("missed" if who else "unmet")
        if not open_trials:
            return
        plan = {
            "do": "try",
            "mutants": [trial.plan() for trial in open_trials.values()],
            "most_seconds": most_seconds,
            "killers": self._killers(before),
        }
        left = {name for trial in open_trials.values() for name in trial.left}
        for answer in self._answers(plan, sorted({name.partition("::")[0] for name in left})):
            trial = open_trials[answer["number"]]
            for name in answer["passed"]:
                trial.passed[name] = seen.stamps[name.partition("::")[0]]
            ended = trial.ended(answer["became"], by=answer["by"], seconds=answer["seconds"])
            yield trial.mutant, ended

    def _killers(self, before: Mapping[str, Trial]) -> dict[str, list[str]]:
        """The tests that caught changes before, by file and by function."""
        killers: dict[str, list[str]] = {}
        for mutant in (mutant for source in self.sources for mutant in source.mutants):
            trial = before.get(mutant.name)
            if trial is not None and trial.became == "caught":
                by = trial.by.partition(" (")[0]
                for where in (mutant.file, f"{mutant.file} {mutant.function}"):
                    killers.setdefault(where, []).insert(0, by)
        return killers

    def _answers(self, plan: dict[str, Any], tests: Sequence[str]) -> Iterator[dict[str, Any]]:
        places = {"folder": str(self.folder), "root": str(self.root)}
        plan_file, answers = self.folder / "plan.json", self.folder / "answers.jsonl"
        plan_file.write_text(json.dumps({**plan, **places}), encoding="utf-8")
        answers.write_text("")
        env = {
            **os.environ,
            "HYPOTHESIS_PROFILE": "long",
            "CONDITIONALS_PLAN": str(plan_file),
            "CONDITIONALS_ANSWERS": str(answers),
        }
        for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "REDIS_URL"):
            env.pop(name, None)
        command = [sys.executable, "-m", "pytest", *PYTEST, *tests, ANCHOR]
        with (self.folder / "printed").open("wb") as printed, answers.open() as lines:
            session = subprocess.Popen(
                command, cwd=self.root, env=env, stdout=printed, stderr=printed
            )
            try:
                while True:
                    ended = session.poll() is not None
                    for line in lines:
                        yield json.loads(line)
                    if ended:
                        break
                    time.sleep(STEP_SECONDS)
            finally:
                session.terminate()
                session.wait()
        if session.returncode not in (0, 1):
            raise TestsCannotRun((self.folder / "printed").read_text(errors="replace")[-3000:])


@contextmanager
def a_copy(nearest: Sequence[str] = NEAREST) -> Iterator[Copy]:
    """A rewritten copy of the checkout in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="podfleet-conditionals-") as folder:
        Path(folder).chmod(0o711)  # some tests run a program in it as another user
        yield Copy(Path(folder), nearest)
