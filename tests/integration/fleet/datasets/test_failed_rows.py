"""A fleet of whose rows too many fail is held with an alert, until an operator runs it again."""

from pathlib import Path

import pytest
import redis

from fleet import operating
from fleet.alerts.reconciling import reconcile_alerts
from fleet.decision.values import Mode
from fleet.models import Alert, Dataset, Fleet, Tick
from fleet.pages.advice import remedies_of
from fleet.tick import ticking
from pods.emulators.base import SteppedClock
from pods.models import Pod
from pods.rules import PodRule
from pods.states import READY
from tests.support.datasets import FLEET, work, write_parquet
from tests.support.factories import a_pod
from tests.support.fleet_command import run


@pytest.fixture
def given(fleet: Fleet, client: redis.Redis, tmp_path: Path) -> Path:
    """A dataset of 8,000 rows in 8 ranges."""
    write_parquet(tmp_path / "in" / "a.parquet", 8000)
    run(
        "feed", FLEET, f"file://{tmp_path}/in/*.parquet", "--into", f"file://{tmp_path}/out",
        "--rows-per-range", 1000,
    )  # fmt: skip
    return tmp_path


def tick(fleet: Fleet) -> Tick:
    ticking.tick_fleet(fleet.pk)
    reconcile_alerts()
    return Tick.objects.latest("pk")


def test_too_many_failed_rows_end_the_pods_and_are_an_alert(
    given: Path, fleet: Fleet, client: redis.Redis, time: SteppedClock
) -> None:
    pod = a_pod(fleet, READY)
    work(client, most=2, failed=set(range(0, 100)))
    assert tick(fleet).binding != "tolerated_failure_percent"
    work(client, most=1, failed=set(range(2000, 2100)))
    last = tick(fleet)
    assert last.binding == "tolerated_failure_percent"
    assert "200 of 3,000 rows failed, more than 5 %: ValueError: too long" in last.sentence
    assert Pod.objects.get(pk=pod.pk).retire_rule == PodRule.TOLERATED_FAILURE_PERCENT
    alert = Alert.objects.open().get(cause="rows_fail")
    assert (alert.severity, alert.fleet) == ("critical", fleet)
    assert "200 of 3,000 rows failed, more than 5 %: ValueError: too long" in alert.text
    assert [r.text for r in remedies_of(alert)] == ["Edit handler", "Run it again", "Tolerate more"]


def test_an_operator_who_runs_it_again_begins_a_new_count(
    given: Path, fleet: Fleet, client: redis.Redis, time: SteppedClock
) -> None:
    work(client, most=2, failed=set(range(0, 500)))
    assert tick(fleet).binding == "tolerated_failure_percent"
    time.advance(60)
    fleet.refresh_from_db()
    operating.set_mode(fleet, Mode.RUNNING, by="ann")
    assert tick(fleet).binding != "tolerated_failure_percent"
    assert not Alert.objects.open().filter(cause="rows_fail").exists()
    work(client, most=2)
    assert tick(fleet).binding != "tolerated_failure_percent"
    work(client, most=1, failed=set(range(4000, 5000)))
    assert "1,000 of 3,000 rows failed" in tick(fleet).sentence
    assert Dataset.objects.get().counted_from_rows == 2000


def test_a_higher_share_can_be_tolerated(
    given: Path, fleet: Fleet, client: redis.Redis, time: SteppedClock
) -> None:
    work(client, most=2, failed=set(range(0, 500)))
    run("set", FLEET, "--tolerated-failure-percent", 30)
    assert tick(fleet).binding != "tolerated_failure_percent"
