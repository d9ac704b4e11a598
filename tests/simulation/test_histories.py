"""Seeded histories of a fleet under faults: every invariant holds after every step."""

import logging

import pytest

from pods import clock
from tests.contract.runpod_rig import runpod
from tests.simulation.history import run

pytestmark = pytest.mark.django_db
STEPS = 240  # of 5 s: 20 minutes of faults


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("pods").setLevel(logging.ERROR)
    logging.getLogger("fleet").setLevel(logging.ERROR)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
def test_no_invariant_breaks_and_all_comes_to_rest(seed: int, redis_url: str) -> None:
    with runpod(in_process=True) as rig, clock.use(rig.clock):
        history = run(rig, redis_url, seed, steps=STEPS)
    assert history.faults > 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(100, 160))
def test_no_invariant_breaks_over_hours(seed: int, redis_url: str) -> None:
    with runpod(in_process=True) as rig, clock.use(rig.clock):
        run(rig, redis_url, seed, steps=6 * STEPS)
