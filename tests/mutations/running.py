"""Runs the tests of a mutation on a copy of the checkout."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.mutations import forking
from tests.mutations.mutation import DoesNotApply, Mutation

ROOT: Final = Path(__file__).parents[2]
LEFT_OUT: Final = shutil.ignore_patterns(
    ".git",
    ".venv*",
    "var",
    "static",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".import_linter_cache",
)
PYTEST: Final = (
    *("-q", "--no-header", "-x", "-p", "no:randomly", "-p", "no:cacheprovider"),
    *("--timeout", "180", "--reuse-db"),
    # Plugins that the parent process has already imported cause this warning.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
LONGEST_SECONDS: Final = 600.0
FAILED: Final = 1  # pytest's exit code where tests ran and one failed


class Became(StrEnum):
    """The result of a mutation."""

    CAUGHT = "caught"
    MISSED = "missed"
    BROKEN = "broken"  # it does not apply, or its tests could not run: this shows nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the tests of a mutation showed."""

    name: str
    became: Became
    by: str = ""  # the test that failed first, or why none did
    seconds: float = 0.0


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the checkout without build and run outputs, with a migrated database next to it."""
    with tempfile.TemporaryDirectory(prefix="podfleet-mutants-") as folder:
        Path(folder).chmod(0o711)  # some tests run a program in it as another user
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT, symlinks=True)
        command = [sys.executable, "manage.py", "migrate", "-v", "0"]
        subprocess.run(command, cwd=copy, env=_environment(copy), check=True)
        forking.import_slow_packages()
        yield copy


def _environment(copy: Path) -> dict[str, str]:
    """The environment of a run, which reuses compiled modules and the migrated database."""
    database = copy.parent / "migrated.sqlite3"
    env = {
        **os.environ,
        "PYTHONPYCACHEPREFIX": str(copy.parent / "pycache"),
        "PODFLEET_VAR_DIR": str(copy.parent / "var"),
        "PODFLEET_MIGRATED": str(database),
        "DATABASE_URL": f"sqlite:///{database}",
        "HYPOTHESIS_PROFILE": "long",  # a property that fails seldom must fail here
    }
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "REDIS_URL", "PODFLEET_PRODUCTION"):
        env.pop(name, None)
    return env


def failure_without_mutations(copy: Path, mutations: Sequence[Mutation]) -> str:
    """Run the tests without a mutation; return "" if they pass, else the end of pytest's output."""
    names = sorted({test for mutation in mutations for test in mutation.tests})
    code, printed = _pytest(copy, names, seconds=LONGEST_SECONDS * 3)
    return "" if code == 0 else printed[-3000:]


def try_out(copy: Path, mutation: Mutation) -> Result:
    """Apply one mutation to the copy, run its tests, and restore the file."""
    file = copy / mutation.file
    original = file.read_text(encoding="utf-8")
    began = time.monotonic()
    try:
        file.write_text(mutation.applied(copy), encoding="utf-8")
        code, printed = _pytest(copy, mutation.tests, seconds=LONGEST_SECONDS)
    except DoesNotApply as exc:
        return Result(name=mutation.name, became=Became.BROKEN, by=str(exc))
    finally:
        file.write_text(original, encoding="utf-8")
    took = round(time.monotonic() - began, 1)
    if code == 0:
        by = "no test of " + ", ".join(mutation.tests)
        return Result(name=mutation.name, became=Became.MISSED, by=by, seconds=took)
    if code != FAILED:
        by = f"pytest ended with {code}: {printed[-1500:]}"
        return Result(name=mutation.name, became=Became.BROKEN, by=by, seconds=took)
    return Result(
        name=mutation.name, became=Became.CAUGHT, by=_first_failure(printed), seconds=took
    )


def _pytest(copy: Path, tests: Sequence[str], *, seconds: float) -> tuple[int, str]:
    return forking.run(copy, [*PYTEST, *tests], _environment(copy), seconds=seconds)


def _first_failure(printed: str) -> str:
    """The first test in pytest's summary; a run that timed out has no summary."""
    for line in printed.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line.split(" ")[1].rpartition("::")[2]
    return "timeout" if "Timeout" in printed else "a failure"
