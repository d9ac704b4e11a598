"""Faults kill, freeze and cut off real processes at random; nothing may be lost or leaked."""

import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.chaos.checking import (
    Report,
    at_rest,
    check_end_state,
    check_guardrails,
    count_faults,
)
from tests.chaos.faults import FaultSequence
from tests.chaos.injecting import FaultInjector
from tests.chaos.repeating import Repeated
from tests.chaos.system import System, prepared

MINUTES: Final = float(os.environ.get("CHAOS_MINUTES", "2"))
SEED: Final = int(os.environ.get("CHAOS_SEED", "1"))
FED_EVERY_SECONDS: Final = 10.0
CHECKED_EVERY_SECONDS: Final = 0.5
ITEMS: Final = 60
MINUTES_FOR_EVERY_FAULT: Final = 10.0
REST_SECONDS: Final = 900.0  # the manager trusts a vendor's list after minutes, and needs it twice


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """The kind of database that the test run uses: "sqlite" or "postgres"."""
    return str(request.config.getoption("--database"))


def run_with_faults(system: System, injector: FaultInjector, report: Report) -> FaultSequence:
    """Cause a fault every few seconds; meanwhile feed items and check the guardrails."""
    random, faults, over = Random(SEED), FaultSequence(injector), threading.Event()
    numbers = itertools.count(1)
    threads = [
        Repeated(over, FED_EVERY_SECONDS, lambda: system.feed(f"part{next(numbers)}", ITEMS)),
        Repeated(over, CHECKED_EVERY_SECONDS, lambda: check_guardrails(system, report)),
    ]
    began = time.monotonic()
    while time.monotonic() - began < 60 * MINUTES:
        faults.cause_next()
        time.sleep(random.uniform(1.0, 5.0))
    report.seconds = int(time.monotonic() - began)
    over.set()
    injector.end()
    for thread in threads:
        thread.join_and_raise()
    return faults


@pytest.mark.slow
@pytest.mark.timeout(int(60 * MINUTES + 2 * REST_SECONDS))
def test_after_chaos_nothing_is_lost_leaked_or_above_its_limit(
    database_kind: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    record_property: Callable[[str, Any], None],
) -> None:
    report = Report(seed=SEED, database=database_kind)
    with prepared(tmp_path, on_postgres=database_kind == "postgres") as system:
        report.left_out = [] if system.log_disk else ["the disk of the log"]
        system.installation.start(monkeypatch)
        injector = FaultInjector(system, SEED)
        faults = run_with_faults(system, injector, report)
        ended = time.monotonic()
        report.came_to_rest = system.until(lambda: at_rest(system), seconds=REST_SECONDS)
        report.rest_seconds = int(time.monotonic() - ended)
        check_end_state(system, report)
    count_faults(report, injector.caused)
    report.never_caused = [name for name in faults.names if name not in injector.caused_names]
    record_property("report", report.facts())
    if folder := os.environ.get("CHAOS_REPORT"):
        Path(folder).write_text(json.dumps(report.facts(), indent=1))
    assert report.passed(), json.dumps(report.facts(), indent=1)
    if MINUTES >= MINUTES_FOR_EVERY_FAULT:
        assert not report.never_caused
