"""A pytest plugin that runs tests in forks of a session which has collected them, by a plan.

The session reads its plan from the file that CONDITIONALS_PLAN names, and writes one JSON object a line
to the file that CONDITIONALS_ANSWERS names. In a recording run each fork runs the tests of one file and
records what each of them saw. In a run of mutants each fork runs, with one mutant on, the tests that
may notice it, until one fails.
"""

import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import Phase, settings

from tests.mutations.conditionals import caches

# One example that fails is enough: it need not be small.
settings.register_profile(
    "conditionals", phases=(Phase.explicit, Phase.generate), database=None, derandomize=True
)
settings.load_profile("conditionals")

LEAST_SECONDS: Final = 15.0
MANY_TIMES: Final = 8.0  # so many times as long as in the recording run is "it does not end"
RECORDING_SECONDS: Final = 600.0
MEMORY_BYTES: Final = 12 * 2**30
STEP_SECONDS: Final = 0.005
ANCHOR: Final = "tests/architecture/"
KILLERS: Final = 6  # the last tests that caught a change of the same function, and of the same file
LIKELY: Final = 0.1  # so much cheaper seems a test that may well notice
MAYBE: Final = 0.5
SLOWER: Final = 4.0  # than in the recording run, before no further test is tried
CACHING: Final = ("pods", "fleet")  # the packages whose conditions are taken out
MARK: Final = "CONDITIONALS_FORK"


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Carry out the plan in place of running the tests."""
    plan = json.loads(Path(os.environ["CONDITIONALS_PLAN"]).read_text(encoding="utf-8"))
    _Session(session, plan).carry_out()
    return True


class _Session:
    def __init__(self, session: pytest.Session, plan: dict[str, Any]) -> None:
        self._items = {item.nodeid: item for item in session.items}
        self._folder, self._root = Path(plan["folder"]), Path(plan["root"])
        self._plan = plan
        # No `with`: it is open until the process ends.
        self._answers = open(os.environ["CONDITIONALS_ANSWERS"], "a", encoding="utf-8")  # noqa: SIM115, PTH123
        self._anchor = _anchor(session.items)
        # By file and by function, the last one first.
        self._killers: dict[str, list[str]] = plan.get("killers", {})
        self._database = _database()
        self._migrated = self._folder / "migrated.sqlite3"

    def carry_out(self) -> None:
        self._warm_up()
        if self._plan["do"] == "record":
            left_out = set(self._plan["left_out"])
            ordered = sorted(
                (item for item in self._items.values() if item.nodeid not in left_out), key=_file
            )
            for file, items in groupby(ordered, key=_file):
                if not file.startswith(ANCHOR):
                    self._record(file, list(items))
            (self._folder / "record").write_text("")
        for mutant in self._plan.get("mutants", []):
            self._try_out(mutant)

    def _answer(self, **words: Any) -> None:
        self._answers.write(json.dumps(words) + "\n")
        self._answers.flush()

    def _warm_up(self) -> None:
        """Make the fixtures of the session, and keep the migrated database."""
        with_rows = [item for item in self._items.values() if _uses_rows(item)]
        if with_rows:
            first = min(with_rows, key=lambda item: len(item.nodeid))
            first.config.hook.pytest_runtest_protocol(item=first, nextitem=self._anchor)
            _close_connections(first)
            shutil.copyfile(self._database, self._migrated)

    def _record(self, file: str, items: list[pytest.Item]) -> None:
        seen = self._folder / "seen"
        shutil.rmtree(seen, ignore_errors=True)
        seen.mkdir(mode=0o777)
        seen.chmod(0o777)
        notes = self._folder / "notes"
        notes.write_text("")
        pid = self._fork(items, mutant=-1, seen=seen, stop=False)
        _wait(pid, time.monotonic() + RECORDING_SECONDS)
        ran = _whole_lines(notes)
        tests = []
        for each in ran:
            if "seconds" in each:
                place = seen / str(each["n"])
                words = place.read_text().split() if place.exists() else []
                tests.append({**each, "saw": sorted(set(words))})
        self._answer(file=file, tests=tests)

    def _try_out(self, mutant: dict[str, Any]) -> None:
        number, file = mutant["number"], self._root / mutant["file"]
        original = file.read_text(encoding="utf-8")
        items = [self._items[name] for name in self._order(mutant) if name in self._items]
        (self._folder / "on").write_text(str(number))
        if mutant["script"]:
            file.write_text(mutant["script"], encoding="utf-8")
        began = time.monotonic()
        try:
            (self._folder / "notes").write_text("")
            pid = self._fork(items, mutant=number, seen=None, stop=True)
            became, by, passed = self._watched(pid, mutant["seconds"])
        finally:
            (self._folder / "on").write_text("-1")
            if mutant["script"]:
                file.write_text(original, encoding="utf-8")
        if became == "caught":
            for where in (mutant["file"], mutant["function"]):
                self._killers.setdefault(where, []).insert(0, by.partition(" (")[0])
        self._answer(
            number=number,
            became=became,
            by=by,
            passed=passed,
            seconds=round(time.monotonic() - began, 2),
        )

    def _order(self, mutant: dict[str, Any]) -> list[str]:
        """The cheapest tests first; those with a reason to expect that they notice seem cheaper."""
        named, cheaper = set(mutant["named"]), dict[str, float]()
        for name in mutant["costs"]:
            if name.partition("[")[0] in named:
                cheaper[name] = LIKELY
        for where, factor in ((mutant["file"], MAYBE), (mutant["function"], LIKELY)):
            for name in list(dict.fromkeys(self._killers.get(where, [])))[:KILLERS]:
                cheaper[name] = factor
        costs = {name: cost * cheaper.get(name, 1.0) for name, cost in mutant["costs"].items()}
        chosen, spent = list[str](), 0.0
        for name in sorted(costs, key=costs.__getitem__):
            seconds = mutant["seconds"][name]
            if not chosen or spent + seconds <= self._plan["most_seconds"]:
                chosen.append(name)
                spent += seconds
        return chosen

    def _watched(self, pid: int, usual: dict[str, float]) -> tuple[str, str, list[str]]:
        """How the fork ended, and which tests passed.

        It is "caught" by a failure, by a time or by a crash, or "missed".
        """
        notes, size, test, failed = self._folder / "notes", 0, "", ""
        passed = list[str]()
        end = time.monotonic() + LEAST_SECONDS * 2
        while True:
            done = os.waitpid(pid, os.WNOHANG)[0] != 0
            if (now := notes.stat().st_size) != size or done:
                size = now
                lines = _whole_lines(notes)
                passed = [each["test"] for each in lines if each.get("failed") is False]
                failed = next((each["test"] for each in lines if each.get("failed")), "")
                last = lines[-1] if lines else {}
                if "seconds" not in last and last.get("test", test) != test:
                    test = last["test"]
                    usually = usual.get(test, 1.0)
                    end = time.monotonic() + LEAST_SECONDS + MANY_TIMES * usually
            if done:
                whole = any("end" in each for each in lines)
                _end(_started_by(pid))
                if failed:
                    return "caught", failed, passed
                return ("missed", "", passed) if whole else ("caught", f"{test} (crash)", passed)
            if time.monotonic() > end:
                _end([pid, *_started_by(pid)])
                os.waitpid(pid, 0)
                return "caught", failed or f"{test} (time)", passed
            time.sleep(STEP_SECONDS)

    def _fork(
        self, items: Sequence[pytest.Item], *, mutant: int, seen: Path | None, stop: bool
    ) -> int:
        for name in ("", "-wal", "-shm"):
            Path(f"{self._database}{name}").unlink(missing_ok=True)
        if self._migrated.exists():
            shutil.copyfile(self._migrated, self._database)
        sys.stdout.flush()
        gc.freeze()  # so that a fork that collects garbage does not copy all of our memory
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.environ[MARK] = str(os.getpid())
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
                _Fork(self._folder, self._anchor, seen, self._plan["most_seconds"] * SLOWER).run(
                    items, mutant, stop=stop
                )
                code = 0
            finally:
                os._exit(code)
        return pid


class _Fork:
    """In the fork: runs tests one after the other, and notes how each went."""

    def __init__(
        self, folder: Path, anchor: pytest.Item, seen: Path | None, most_seconds: float
    ) -> None:
        self._since, self._most = time.monotonic(), most_seconds
        self._anchor, self._seen, self._failed = anchor, seen, False
        self._notes = (folder / "notes").open("a", encoding="utf-8")
        self._record = folder / "record"
        # Not the one of this package: the rewritten modules import it from beside the copy.
        self._probe: Any = importlib.import_module("mutation_probe").PROBE

    def run(self, items: Sequence[pytest.Item], mutant: int, *, stop: bool) -> None:
        if not items:
            self._note(end=True)
            return
        items[0].config.pluginmanager.register(self)
        self._probe.on = mutant
        caches.forget(CACHING)
        for n, item in enumerate(items):
            following = items[n + 1] if n + 1 < len(items) else self._anchor
            self._note(test=item.nodeid)
            self._begin(n)
            began, self._failed = time.monotonic(), False
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._note(
                test=item.nodeid,
                n=n,
                seconds=round(time.monotonic() - began, 3),
                failed=self._failed,
            )
            if stop and self._failed:
                return
            if stop and time.monotonic() - self._since > self._most:
                break
        self._note(end=True)

    def _begin(self, n: int) -> None:
        if self._seen is not None:
            path = str(self._seen / str(n))
            self._record.write_text(path)
            self._probe.begin(path)

    def _note(self, **words: Any) -> None:
        self._notes.write(json.dumps(words) + "\n")
        self._notes.flush()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember that some part of the test failed."""
        self._failed = self._failed or report.failed


def _whole_lines(notes: Path) -> list[dict[str, Any]]:
    """The notes of a fork, which may be writing another line now."""
    return [json.loads(line) for line in notes.read_text().split("\n")[:-1] if line[-1:] == "}"]


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _wait(pid: int, end: float) -> None:
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(STEP_SECONDS)


def _end(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _started_by(pid: int) -> list[int]:
    """The processes that have the mark of this fork."""
    found = []
    word = f"{MARK}={pid}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word in (folder / "environ").read_bytes() + b"\0":
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _uses_rows(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("django_db")
    return mark is not None and not mark.kwargs.get("transaction", False)


def _anchor(items: Sequence[pytest.Item]) -> pytest.Item:
    """A test that shares no folder below `tests` with the others: what is no longer needed ends."""
    return next(item for item in items if item.nodeid.startswith(ANCHOR))


def _close_connections(item: pytest.Item) -> None:
    from django.db import connections
    from pytest_django.plugin import blocking_manager_key

    with item.config.stash[blocking_manager_key].unblock():
        connections.close_all()


def _database() -> Path:
    from django.conf import settings

    return Path(settings.DATABASES["default"]["NAME"])
