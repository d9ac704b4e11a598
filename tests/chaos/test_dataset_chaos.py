"""Faults around a dataset at random; each input row has one output row or one error row at the end."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chaos.dataset_faults import FAULTS, DatasetFaults
from tests.chaos.dataset_system import DatasetSystem, prepared

MINUTES: Final = float(os.environ.get("CHAOS_MINUTES", "2"))
SEED: Final = int(os.environ.get("CHAOS_SEED", "1"))
AGENTS: Final = 3
REST_SECONDS: Final = 600.0
MINUTES_FOR_EVERY_FAULT: Final = 8.0
pytestmark = [pytest.mark.slow, pytest.mark.django_db]


def run_with_faults(system: DatasetSystem) -> DatasetFaults:
    faults, began = DatasetFaults(system), time.monotonic()
    while time.monotonic() - began < 60 * MINUTES:
        system.keep_running(AGENTS)
        system.keep_fed()
        faults.cause_next()
        time.sleep(system.random.uniform(0.2, 2.0))
    faults.end()
    return faults


def come_to_rest(system: DatasetSystem) -> float:
    """Seconds until no range is left, with agents that nobody harms."""
    began = time.monotonic()
    while system.left():
        assert time.monotonic() - began < REST_SECONDS, f"{system.left()} ranges are left"
        system.keep_running(AGENTS)
        time.sleep(0.2)
    return time.monotonic() - began


@pytest.mark.one_database
@pytest.mark.timeout(int(60 * MINUTES + 2 * REST_SECONDS))
def test_after_chaos_each_row_has_one_output_row_or_one_error_row(
    tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    with prepared(tmp_path, SEED) as system:
        system.add_files()
        system.feed()
        faults = run_with_faults(system)
        rest = come_to_rest(system)
        for agent in system.agents:
            agent.kill()
        why = system.finish()
        proof = system.verified()
        ids, failed, wrong = system.rows_in_the_sink()
    report = {
        "seed": SEED,
        "faults": dict(faults.caused.most_common()),
        "agents_ended": system.ended,
        "rest_seconds": round(rest),
        "rows": len(system.wanted),
        "lost": len(system.wanted.keys() - ids.keys()),
        "doubled": sum(n > 1 for n in ids.values()),
        "failed": len(failed),
        "not_finished": why,
        "verify": proof,
    }
    record_property("report", report)
    if folder := os.environ.get("CHAOS_REPORT"):
        Path(folder).write_text(json.dumps(report, indent=1))
    said = json.dumps(report, indent=1)
    assert ids.keys() == system.wanted.keys(), said
    assert set(ids.values()) == {1}, said
    assert (failed, wrong) == (system.failing, []), said
    assert (why, proof["wrong"], proof["complete"]) == ("", [], True), said
    assert proof["rows"] == proof["done"] + proof["failed"] == len(system.wanted), said
    if MINUTES >= MINUTES_FOR_EVERY_FAULT:
        assert faults.caused.keys() == FAULTS.keys(), said
