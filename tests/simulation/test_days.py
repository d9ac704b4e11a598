"""Seeded days: 24 hours each, and the same again from the same seed."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.databases import Fresh
from tests.simulation.day import Lived, live

CHECKOUT = Path(__file__).parents[2]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quiet() -> None:
    for name in ("pods", "fleet", "stamina"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def lived(redis_url: str, seed: int) -> Lived:
    fresh = Fresh()
    day = live(redis_url, seed, fresh)
    fresh.restore()
    return day


@pytest.mark.one_database
@pytest.mark.timeout(120)
def test_the_command_lives_a_day_of_faults_without_a_violation() -> None:
    command = [sys.executable, "manage.py", "simulate-faults", "--seeds", "1", "--first-seed", "2"]
    ended = subprocess.run(
        [*command, "--json"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["histories"] == 1
    assert told["simulated_hours"] >= 24
    assert told["fewest_faults"] >= 50
    assert told["pods"] > 0
    assert told["seeds_violating"] == []


@pytest.mark.timeout(120)
def test_the_same_seed_is_the_same_history(redis_url: str) -> None:
    first, again = lived(redis_url, 2), lived(redis_url, 2)
    assert first.fingerprint == again.fingerprint
    assert lived(redis_url, 3).fingerprint != first.fingerprint


# Seeds that found a bug once (docs/reliability.md), and a few more.
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [28, 57, 72, 40])
def test_a_day_has_no_violation(redis_url: str, seed: int) -> None:
    day = lived(redis_url, seed)
    assert day.violation == ""
    assert day.hours >= 24
    assert day.faults >= 50


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(1000, 1200, 20))
def test_days_have_no_violation(redis_url: str, first: int) -> None:
    days = [lived(redis_url, seed) for seed in range(first, first + 20)]
    assert [day.violation for day in days if day.violation] == []
    assert all(day.hours >= 24 for day in days)
