"""Real processes are killed, frozen and cut off at random; afterwards nothing is lost or leaked."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.chaos.havoc import Havoc
from tests.chaos.judging import Verdict, at_rest, judge, watch
from tests.chaos.stage import Stage, staged
from tests.integration.stack.conftest import Installation, database_url, installation

__all__ = ["database_url", "installation"]  # the fixtures
MINUTES: Final = float(os.environ.get("CHAOS_MINUTES", "2"))
SEED: Final = int(os.environ.get("CHAOS_SEED", "1"))
FED_EVERY_SECONDS: Final = 10.0
ITEMS: Final = 60
REST_SECONDS: Final = 900.0  # a vendor's list is trusted after minutes, twice


def live(stage: Stage, havoc: Havoc, verdict: Verdict, folder: Path) -> None:
    """Break something every few seconds, feed, and watch the guardrails."""
    dice, began = Random(SEED), time.monotonic()
    fed = struck = began
    number = 0
    while (now := time.monotonic()) - began < 60 * MINUTES:
        if now >= fed:
            number += 1
            stage.feed(folder, f"part{number}", ITEMS)
            fed = now + FED_EVERY_SECONDS
        if now >= struck:
            havoc.strike()
            struck = now + dice.uniform(1.0, 5.0)
        watch(stage, verdict)
        time.sleep(0.5)
    verdict.seconds = int(time.monotonic() - began)


@pytest.mark.slow
@pytest.mark.timeout(int(60 * MINUTES + 2 * REST_SECONDS))
def test_after_chaos_nothing_is_lost_leaked_or_above_its_limit(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    record_property: Callable[[str, Any], None],
) -> None:
    verdict = Verdict(seed=SEED)
    with staged(installation, tmp_path) as stage:
        installation.start(monkeypatch)
        havoc = Havoc(stage, SEED)
        try:
            live(stage, havoc, verdict, tmp_path)
        finally:
            havoc.end()
        verdict.came_to_rest = stage.until(lambda: at_rest(stage), seconds=REST_SECONDS)
        judge(stage, verdict)
    verdict.done = dict(havoc.done.most_common())
    record_property("verdict", verdict.facts())
    if folder := os.environ.get("CHAOS_REPORT"):
        Path(folder).write_text(json.dumps(verdict.facts(), indent=1))
    assert verdict.faultless(), json.dumps(verdict.facts(), indent=1)
