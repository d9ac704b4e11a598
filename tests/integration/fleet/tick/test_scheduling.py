"""Each fleet has one periodic task, whatever it is called."""

from datetime import timedelta

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from fleet import operating
from fleet.models import Fleet
from fleet.tick import scheduling
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet() -> Fleet:
    made: Fleet = a_fleet(name="emb")
    return made


def test_a_fleets_schedule_is_made_once_and_then_only_operators_change_it(fleet: Fleet) -> None:
    fleet.refresh_from_db()
    task = PeriodicTask.objects.get(name="tick emb")
    assert (task.task, task.args) == ("fleet.tick", f"[{fleet.pk}]")
    assert task.expire_seconds is not None
    assert task.expire_seconds < fleet.tick_period.total_seconds()
    scheduling.keep_schedule(fleet, every=timedelta(seconds=3))
    fleet = Fleet.objects.get(pk=fleet.pk)
    scheduling.keep_schedule(fleet)  # every save of the fleet calls it
    assert fleet.tick_period == timedelta(seconds=3)
    assert {t.name for t in PeriodicTask.objects.exclude(expire_seconds=None)} >= {
        "sweep",
        "nudge",
        "reconcile",
        "survey",
        "tick emb",
    }


def test_a_renamed_fleet_keeps_its_task_and_the_old_name_is_free(fleet: Fleet) -> None:
    first = PeriodicTask.objects.get(name="tick emb")
    operating.edit(Fleet.objects.get(pk=fleet.pk), {"name": "texts"}, by="ann")
    assert PeriodicTask.objects.get(pk=first.pk).name == "tick texts"
    # As fleets were renamed before: the task kept the old name.
    PeriodicTask.objects.filter(pk=first.pk).update(name="tick emb")
    other = a_fleet(name="emb", accounts=list(fleet.accounts.all()))
    assert other.schedule_id != first.pk
    tasks = PeriodicTask.objects.filter(task="fleet.tick")
    assert {t.args for t in tasks} == {f"[{fleet.pk}]", f"[{other.pk}]"}
    operating.edit(Fleet.objects.get(pk=fleet.pk), {"max_instances": 2}, by="ann")
    assert PeriodicTask.objects.get(pk=first.pk).name == "tick texts"


def test_two_equal_intervals_in_the_table_cause_no_error(fleet: Fleet) -> None:
    for _ in range(2):
        IntervalSchedule.objects.create(every=7, period=IntervalSchedule.SECONDS)
    scheduling.keep_schedule(Fleet.objects.get(pk=fleet.pk), every=timedelta(seconds=7))
    assert Fleet.objects.get(pk=fleet.pk).tick_period == timedelta(seconds=7)
