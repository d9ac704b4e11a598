"""Runs the tests of a rewritten copy of the checkout: once to record, once for each mutant."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.mutations.conditionals.finding import Source, sources
from tests.mutations.conditionals.instrumenting import stamp
from tests.mutations.conditionals.keeping import Seen, Trial, Witnesses
from tests.mutations.conditionals.mutant import Mutant
from tests.mutations.running import LEFT_OUT, ROOT

NEAREST: Final = (
    *("tests/unit/pods", "tests/unit/fleet", "tests/contract", "tests/integration/pods"),
    *("tests/integration/fleet/tick", "tests/integration/fleet/alerts", "tests/integration/faults"),
    *("tests/integration/fleet/management", "tests/integration/fleet/money"),
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


class Copy:
    """A copy of the checkout in which every mutant waits for its number."""

    def __init__(self, folder: Path, nearest: Sequence[str]) -> None:
        self.folder, self.root, self.nearest = folder, folder / "checkout", nearest
        shutil.copytree(ROOT, self.root, ignore=LEFT_OUT, symlinks=True)
        shutil.copyfile(Path(__file__).with_name("mutation_probe.py"), folder / "mutation_probe.py")
        for name, text in (("on", "-1"), ("record", "")):
            (folder / name).write_text(text)
        self.sources: Sequence[Source] = sources(self.root, str(folder))
        self.places = [place for source in self.sources for place in source.places]
        for source in self.sources:
            (self.root / source.file).write_text(source.rewritten, encoding="utf-8")

    def test_files(self) -> list[str]:
        """The files of the nearest tests."""
        found = [path for near in self.nearest for path in (self.root / near).rglob("test_*.py")]
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def stamps(self) -> dict[str, str]:
        """The stamp of each test file."""
        return {file: stamp((self.root / file).read_text()) for file in self.test_files()}

    def record(self, files: Sequence[str], seen: Seen) -> Iterator[str]:
        """Record what the tests of these files see; yield each file when it is done."""
        for answer in self._answers({"do": "record", "most_seconds": 0.0}, files):
            seen.add(answer["file"], answer["tests"], self.places)
            yield answer["file"]

    def try_out(
        self, mutants: Sequence[Mutant], seen: Seen, most_seconds: float
    ) -> Iterator[tuple[Mutant, Trial]]:
        """Try out the mutants; yield each with how it ended."""
        witnesses = Witnesses(seen)
        plan, by_number, might, files = [], {}, {}, set[str]()
        for mutant in mutants:
            who = witnesses.of(mutant, self.places)
            if not who:
                yield mutant, Trial(became="unmet", stamp=mutant.stamp)
                continue
            by_number[mutant.number], might[mutant.number] = mutant, len(who)
            files.update(name.partition("::")[0] for _, name in who)
            plan.append(
                {
                    "number": mutant.number,
                    "file": mutant.file,
                    "script": mutant.script,
                    "seconds": {name: seconds for seconds, name in who},
                }
            )
        if not plan:
            return
        for answer in self._answers(
            {"do": "try", "mutants": plan, "most_seconds": most_seconds}, sorted(files)
        ):
            number = answer.pop("number")
            mutant = by_number[number]
            yield mutant, Trial(**answer, might=might[number], stamp=mutant.stamp)

    def _answers(self, plan: dict[str, Any], tests: Sequence[str]) -> Iterator[dict[str, Any]]:
        places = {"folder": str(self.folder), "root": str(self.root)}
        plan_file, answers = self.folder / "plan.json", self.folder / "answers.jsonl"
        plan_file.write_text(json.dumps({**plan, **places}), encoding="utf-8")
        answers.write_text("")
        env = {
            **os.environ,
            "PYTHONPYCACHEPREFIX": str(self.folder / "pycache"),
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
