"""How `make test` runs the tests: on two databases at once, the longest first, skips in a line each."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_timeout
from hypothesis import example, given
from hypothesis import strategies as st

from config.env import ROOT
from tests.support import databases, longest_first, skips, timeouts, waiting
from tests.support.programs import command

SETTINGS = pytest_timeout.Settings(*[None] * len(pytest_timeout.Settings._fields))
RUN = [sys.executable, "-m", "tests.support.both_databases"]


def run(how: list[str], sqlite: int, postgres: int) -> subprocess.CompletedProcess[str]:
    both = [*RUN, *how, "--", *command("answer", sqlite, postgres)]
    return subprocess.run(both, cwd=ROOT, capture_output=True, text=True, check=False)


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
    both = [*RUN, "--side-by-side", "1", "--", *command("wait")]
    # A run in the background ignores SIGINT, and so would the processes that it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = subprocess.Popen(both, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with started:
        assert started.stdout is not None
        assert [next(started.stdout) for _ in range(2)] == ["== tests on sqlite\n", "at it\n"]
        started.send_signal(signal.SIGTERM)
        assert started.wait(waiting.patience(60)) == 130


FOLDER = {
    "pytest.ini": "[pytest]\naddopts = -q -p xdist -p randomly",
    "conftest.py": """
def pytest_addoption(parser):
    parser.addoption("--database")
""",
    "test_some.py": """
from pathlib import Path
import pytest

@pytest.fixture
def database(request):
    return request.config.getoption("--database")

def test_good():
    pass

@pytest.mark.parametrize("number", range(UNSTEADY))
def test_unsteady(database, number):
    place = Path(__file__).with_name(f"{database}-{number}")
    began_before = place.exists()
    place.touch()
    assert began_before

def test_broken(database):
    assert database not in BROKEN
""",
}


@pytest.mark.parametrize(
    ("jobs", "unsteady", "broken", "status"),
    [(1, 1, [], 0), (1, 1, ["postgres"], 1), (1, 3, [], 1), (0, 1, [], 1)],
    ids=["two unsteady tests", "one that fails again", "too many", "no others beside them"],
)
def test_a_few_failed_tests_run_once_more_alone_and_are_named(
    tmp_path: Path, jobs: int, unsteady: int, broken: list[str], status: int
) -> None:
    for name, text in FOLDER.items():
        filled = text.replace("UNSTEADY", str(unsteady)).replace("BROKEN", repr(broken))
        (tmp_path / name).write_text(filled)
    words = ["--side-by-side", str(jobs), "--", sys.executable, "-m", "pytest", str(tmp_path)]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    both = subprocess.run(
        [*RUN, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    *before, last = both.stdout.splitlines()
    summaries = [line for line in before if " passed" in line]
    named = [f"test_some.py::test_unsteady[0] on {name}" for name in ("sqlite", "postgres")]
    alone = f"2 tests failed beside the others and passed alone: {', '.join(named)}"
    repeated = jobs > 0 and unsteady == 1
    assert both.returncode == status, both.stdout
    assert (last == alone) == repeated
    assert len(summaries) == (4 if repeated else 1), both.stdout


def item(name: str, seconds: float = 0) -> Any:
    mark = SimpleNamespace(args=(seconds,)) if seconds else None
    return SimpleNamespace(name=name, get_closest_marker=lambda _: mark)


@given(st.lists(st.sampled_from([0, 0, 0, 5, 60]), max_size=60), st.integers(1, 5))
@example([0, 5, 5, 5, 5], 3)
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


def case(folder: str, test: str, number: int, *marks: str) -> Any:
    return SimpleNamespace(
        nodeid=f"tests/{folder}/test_a.py::{test}[{number}]",
        fixturenames=(),
        callspec=SimpleNamespace(indices={"number": number}),
        get_closest_marker=lambda name: name in marks or None,
    )


def test_on_postgresql_few_cases_of_a_page_run_and_all_cases_of_a_rule() -> None:
    items = [
        *[case("admin", "page", n, "django_db") for n in (4, 0, 3, 1, 2)],
        *[case("tick", "rule", n, "django_db") for n in range(5)],
        case("tick", "pure", 0),
        case("tick", "long", 0, "django_db", "one_database"),
    ]
    found = [item.nodeid.partition("::")[2] for item in databases.for_postgres(items)]
    assert found == [f"page[{n}]" for n in (0, 1, 2)] + [f"rule[{n}]" for n in range(5)]


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
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for load, seconds in ((0.1, 40), (2, 40), (5, 100), (900, 400)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0, 0))
        assert waiting.patience(40) == seconds


def test_the_longest_that_a_test_may_take_grows_too(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    set_to: list[float] = []
    monkeypatch.setattr(os, "getloadavg", lambda: (900, 0, 0))
    monkeypatch.setattr(
        pytest_timeout,
        "pytest_timeout_set_timer",
        lambda _, settings: set_to.append(settings.timeout),
    )
    timeouts.pytest_timeout_set_timer(request.node, SETTINGS._replace(timeout=120.0))
    assert set_to == [1200.0]
    assert request.config.pluginmanager.has_plugin("tests.support.timeouts")
