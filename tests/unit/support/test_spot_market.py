"""The recorded spot market of the benchmark: its bound is a bound, and the product's fleet keeps time."""

import numpy as np
import pytest

from benchmarks.spot.bound import least_usd
from benchmarks.spot.fleets import by_deadline, within_budget
from benchmarks.spot.recordings import FIRM_USD, OURS, SPOT_USD, Episode, read
from benchmarks.spot.rivals import RIVALS
from benchmarks.spot.world import BOOT_MINUTES, PODS, play

HOURS, SLACK = 1.0, 2.0
MINUTES = 120


def episode(*up: bool) -> Episode:
    """Zones that are there for a whole episode, or never."""
    return Episode(
        zones=tuple(str(n) for n in range(len(up))),
        up=tuple(np.full(600, there) for there in up),
        prices=tuple(SPOT_USD for _ in up),
        hours=HOURS,
        slack=SLACK,
        deadline_minutes=MINUTES,
    )


@pytest.mark.parametrize(("there", "usd"), [(True, SPOT_USD), (False, FIRM_USD)])
def test_the_bound_has_half_the_pods_boot_where_there_is_twice_the_time(
    there: bool, usd: float
) -> None:
    least = least_usd(episode(there), pods=PODS, boot_minutes=BOOT_MINUTES)
    billed = SLACK * HOURS  # of a pod that runs to the deadline
    assert least == pytest.approx(
        PODS * HOURS * usd * billed / (billed - BOOT_MINUTES / 60), rel=0.001
    )


@pytest.mark.parametrize("there", [True, False])
def test_every_policy_keeps_the_deadline_and_pays_the_bound_or_more(there: bool) -> None:
    least = least_usd(episode(there), pods=PODS, boot_minutes=BOOT_MINUTES)
    for acts in (by_deadline(MINUTES), *(rival() for rival in RIVALS.values())):
        outcome = play(episode(there), acts, horizon=600)
        assert outcome.minutes is not None
        assert outcome.minutes <= MINUTES
        assert outcome.cost >= least - 1e-6


def test_the_product_pays_nearly_the_bound_where_spot_is_always_there() -> None:
    outcome = play(episode(True), by_deadline(MINUTES), horizon=600)
    assert outcome.cost < 1.05 * least_usd(episode(True), pods=PODS, boot_minutes=BOOT_MINUTES)


def test_a_budget_that_is_too_small_is_not_overspent() -> None:
    outcome = play(episode(True), within_budget(4.0), horizon=600)
    assert outcome.minutes is None
    assert 3.0 < outcome.cost <= 4.0


def test_the_recordings_are_there_as_their_page_says() -> None:
    shares = {name.split("_")[2]: round(float(up.mean()), 2) for name, up in read(OURS).items()}
    assert shares == {"us-west-2a": 0.88, "us-east-2b": 0.68, "us-east-1c": 0.47}
