"""Seeded days: 24 hours each, and the same again from the same seed."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import transaction

from pods import clock
from tests.contract.runpod_rig import runpod
from tests.simulation.day import BURSTS, Lived, live

CHECKOUT = Path(__file__).parents[2]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("pods").setLevel(logging.ERROR)
    logging.getLogger("fleet").setLevel(logging.ERROR)


def lived(redis_url: str, seed: int, *, bursts: int = BURSTS) -> Lived:
    """A day that leaves no rows."""
    with runpod(in_process=True) as rig, clock.use(rig.clock), transaction.atomic():
        day = live(rig, redis_url, seed, bursts=bursts)
        transaction.set_rollback(True)
    return day


@pytest.mark.timeout(120)
def test_the_command_lives_a_day_of_faults_without_a_violation() -> None:
    command = [sys.executable, "manage.py", "simulate-faults", "--seeds", "1", "--first-seed", "1"]
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
    first, again = lived(redis_url, 2, bursts=2), lived(redis_url, 2, bursts=2)
    assert first.fingerprint == again.fingerprint
    assert lived(redis_url, 3, bursts=2).fingerprint != first.fingerprint
