"""Real processes are killed, frozen and cut off at random; afterwards nothing is lost or leaked."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.chaos.blows import Bag
from tests.chaos.havoc import Havoc
from tests.chaos.judging import Verdict, at_rest, count, judge, watch
from tests.chaos.stage import Stage, staged

MINUTES: Final = float(os.environ.get("CHAOS_MINUTES", "2"))
SEED: Final = int(os.environ.get("CHAOS_SEED", "1"))
FED_EVERY_SECONDS: Final = 10.0
ITEMS: Final = 60
MINUTES_FOR_EVERY_BLOW: Final = 10.0
REST_SECONDS: Final = 900.0  # a vendor's list is trusted after minutes, twice


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which kind the test run uses."""
    return str(request.config.getoption("--database"))


def live(stage: Stage, havoc: Havoc, verdict: Verdict) -> Bag:
    """Break something every few seconds, feed, and watch the guardrails."""
    dice, began = Random(SEED), time.monotonic()
    bag = Bag(havoc)
    fed = struck = began
    number = 0
    while (now := time.monotonic()) - began < 60 * MINUTES:
        if now >= fed:
            number += 1
            stage.feed(f"part{number}", ITEMS)
            fed = now + FED_EVERY_SECONDS
        if now >= struck:
            bag.strike()
            struck = now + dice.uniform(1.0, 5.0)
        watch(stage, verdict)
        time.sleep(0.5)
    verdict.seconds = int(time.monotonic() - began)
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
        stage.installation.start(monkeypatch)
        havoc = Havoc(stage, SEED)
        try:
            bag = live(stage, havoc, verdict)
        finally:
            havoc.end()
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
