"""How `make test` runs the tests: on two databases at once, the longest first, skips in a line each."""

import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_timeout
from hypothesis import given
from hypothesis import strategies as st

from tests.support import longest_first, skips, timeouts, waiting

SETTINGS = pytest_timeout.Settings(*[None] * len(pytest_timeout.Settings._fields))
RUN = [sys.executable, "-m", "tests.support.both_databases"]
# Stands for pytest: says its words, and ends with the status that its database has.
STAND_IN = "import sys; on = sys.argv[sys.argv.index('--database') + 1]; print(on, 'said'); "
STAND_IN += "sys.exit({status}[on])"


def run(how: list[str], sqlite: int, postgres: int) -> subprocess.CompletedProcess[str]:
    code = STAND_IN.format(status={"sqlite": sqlite, "postgres": postgres})
    command = [*RUN, *how, "--", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", [[], ["--side-by-side", "3"]], ids=["in turn", "side by side"])
def test_sqlite_speaks_first_and_postgresql_has_the_last_word(how: list[str]) -> None:
    done = run(how, 0, 0)
    words = ["== tests on sqlite", "sqlite said", "== tests on postgres", "postgres said"]
    assert done.stdout.splitlines() == words
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("sqlite", "postgres", "status"),
    [(1, 0, 1), (0, 1, 1), (2, 5, 1), (5, 0, 0), (5, 5, 5), (0, 130, 130)],
)
def test_a_failure_on_either_is_a_failure(sqlite: int, postgres: int, status: int) -> None:
    assert run(["--side-by-side", "3"], sqlite, postgres).returncode == status


def test_an_end_from_outside_ends_both() -> None:
    code = "import sys, time\ntry:\n  print('at it', flush=True); time.sleep(600)\n"
    code += "except KeyboardInterrupt: print('asked to end', flush=True)"
    command = [*RUN, "--side-by-side", "1", "--", sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert [next(started.stdout) for _ in range(2)] == ["== tests on sqlite\n", "at it\n"]
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 130


def item(name: str, seconds: float = 0) -> Any:
    mark = SimpleNamespace(args=(seconds,)) if seconds else None
    return SimpleNamespace(name=name, get_closest_marker=lambda _: mark)


@given(st.lists(st.sampled_from([0, 0, 0, 5, 60]), max_size=60), st.integers(1, 5))
def test_no_test_is_lost_and_each_process_begins_with_a_long_one(
    taken: list[float], processes: int
) -> None:
    items = [item(str(number), seconds) for number, seconds in enumerate(taken)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_XDIST_WORKER_COUNT", str(processes))
        longest_first.pytest_collection_modifyitems(ordered := [*items])
    assert sorted(i.name for i in ordered) == sorted(i.name for i in items)
    begin, long = 0, sum(seconds > 0 for seconds in taken)
    for process in range(processes):
        size = (len(ordered) - begin) // (processes - process)
        if size and process < long:
            assert longest_first.seconds(ordered[begin])
        begin += size


def test_each_reason_of_skips_has_one_line_and_a_number() -> None:
    lines: list[str] = []
    reports = [SimpleNamespace(longrepr=("a.py", n, "Skipped: no\n Docker")) for n in range(80)]
    reports.append(SimpleNamespace(longrepr=("b.py", 1, "Skipped: no Chromium")))
    reporter: Any = SimpleNamespace(
        getreports=lambda _: reports, section=lambda _: None, write_line=lines.append
    )
    skips.pytest_terminal_summary(reporter)
    assert lines == ["  80  no Docker", "   1  no Chromium"]


def test_waits_grow_with_the_load_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting.os, "cpu_count", lambda: 2)
    for load, seconds in ((0.1, 40), (2, 40), (5, 100), (900, 400)):
        monkeypatch.setattr(waiting.os, "getloadavg", lambda load=load: (load, 0, 0))
        assert waiting.patience(40) == seconds


def test_the_longest_that_a_test_may_take_grows_too(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    set_to: list[float] = []
    monkeypatch.setattr(waiting.os, "getloadavg", lambda: (900, 0, 0))
    monkeypatch.setattr(
        timeouts.pytest_timeout,
        "pytest_timeout_set_timer",
        lambda _, settings: set_to.append(settings.timeout),
    )
    timeouts.pytest_timeout_set_timer(request.node, SETTINGS._replace(timeout=120.0))
    assert set_to == [1200.0]
    assert request.config.pluginmanager.has_plugin("tests.support.timeouts")
