"""A fleet whose pods fail every item starts no further pod and tells somebody."""

import pytest

from fleet.alerts import reconciling
from fleet.models import Alert
from pods.base import clock
from pods.models import Pod
from tests.support.rigs.runpod_rig import runpod
from tests.support.stage import Stage

pytestmark = pytest.mark.django_db


def alerted() -> list[str]:
    reconciling.reconcile_alerts()
    return list(Alert.objects.open().filter(cause="all_fail").values_list("text", flat=True))


@pytest.mark.parametrize("failed", [{"failing": 40}, {"failing": 2, "final": 30}])
def test_a_fleet_that_fails_everything_starts_no_pod_until_an_item_succeeds(
    redis_url: str, failed: dict[str, int]
) -> None:
    with runpod() as rig, clock.use(rig.clock):
        rig.server.checks.clear()
        stage = Stage(rig, redis_url, "runpod", max_instances=3, spawn_per_tick=1)
        stage.enqueue(1000)
        stage.behave = lambda pod: stage.beat(pod, done=5)
        while Pod.objects.filter(state="ready").count() < 2:
            stage.step()
        assert alerted() == []
        why = "the last 40 tries failed: ValueError: no such model"
        stage.behave = lambda pod: stage.beat(pod, done=5, note=why, **failed)
        stage.step()
        [text] = alerted()
        assert "no such model" in text
        assert stage.last.all_fail is True
        before = Pod.objects.count()
        stage.run(minutes=3)
        assert Pod.objects.count() == before
        assert Pod.objects.filter(state="ready").count() == before  # it retires nothing
        stage.behave = lambda pod: stage.beat(pod, done=6, failing=0)
        stage.step()
        assert (stage.last.all_fail, alerted()) == (False, [])


def test_a_pod_that_fails_beside_one_that_works_is_no_alert_of_the_fleet(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        rig.server.checks.clear()
        stage = Stage(rig, redis_url, "runpod", max_instances=2)
        stage.enqueue(1000)
        stage.behave = lambda pod: stage.beat(pod, done=5)
        while Pod.objects.filter(state="ready").count() < 2:
            stage.step()
        bad = Pod.objects.order_by("pk")[0].pk
        stage.behave = lambda pod: stage.beat(pod, done=5, failing=40 if pod.pk == bad else 0)
        stage.step()
        assert (stage.last.all_fail, alerted()) == (False, [])
