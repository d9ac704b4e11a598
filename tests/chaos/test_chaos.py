"""Real processes are killed, frozen and cut off at random; afterwards nothing is lost or leaked."""

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

from tests.chaos.blows import Bag
from tests.chaos.havoc import Havoc
from tests.chaos.judging import Verdict, at_rest, count, judge, watch
from tests.chaos.repeating import Repeated
from tests.chaos.stage import Stage, staged

MINUTES: Final = float(os.environ.get("CHAOS_MINUTES", "2"))
SEED: Final = int(os.environ.get("CHAOS_SEED", "1"))
FED_EVERY_SECONDS: Final = 10.0
WATCHED_EVERY_SECONDS: Final = 0.5
ITEMS: Final = 60
MINUTES_FOR_EVERY_BLOW: Final = 10.0
REST_SECONDS: Final = 900.0  # a vendor's list is trusted after minutes, twice


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which kind the test run uses."""
    return str(request.config.getoption("--database"))


def live(stage: Stage, havoc: Havoc, verdict: Verdict) -> Bag:
    """Break something every few seconds; beside that, feed, and watch the guardrails."""
    dice, bag, over = Random(SEED), Bag(havoc), threading.Event()
    numbers = itertools.count(1)
    beside = [
        Repeated(over, FED_EVERY_SECONDS, lambda: stage.feed(f"part{next(numbers)}", ITEMS)),
        Repeated(over, WATCHED_EVERY_SECONDS, lambda: watch(stage, verdict)),
    ]
    began = time.monotonic()
    while time.monotonic() - began < 60 * MINUTES:
        bag.strike()
        time.sleep(dice.uniform(1.0, 5.0))
    verdict.seconds = int(time.monotonic() - began)
    over.set()
    havoc.end()
    for thread in beside:
        thread.join_and_raise()
    return bag


@pytest.mark.slow
@pytest.mark.timeout(int(60 * MINUTES + 2 * REST_SECONDS))
def test_after_chaos_nothing_is_lost_leaked_or_above_its_limit(
    database_kind: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    record_property: Callable[[str, Any], None],
) -> None:
    verdict = Verdict(seed=SEED, database=database_kind)
    with staged(tmp_path, on_postgres=database_kind == "postgres") as stage:
        verdict.left_out = [] if stage.log_disk else ["the disk of the log"]
        stage.installation.start(monkeypatch)
        havoc = Havoc(stage, SEED)
        bag = live(stage, havoc, verdict)
        ended = time.monotonic()
        verdict.came_to_rest = stage.until(lambda: at_rest(stage), seconds=REST_SECONDS)
        verdict.rest_seconds = int(time.monotonic() - ended)
        judge(stage, verdict)
    count(verdict, havoc.done)
    verdict.never_dealt = [name for name in bag.names if name not in havoc.dealt]
    record_property("verdict", verdict.facts())
    if folder := os.environ.get("CHAOS_REPORT"):
        Path(folder).write_text(json.dumps(verdict.facts(), indent=1))
    assert verdict.faultless(), json.dumps(verdict.facts(), indent=1)
    if MINUTES >= MINUTES_FOR_EVERY_BLOW:
        assert not verdict.never_dealt
