"""Each fleet has one periodic task, whatever it is called."""

from datetime import timedelta
from typing import Any

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from fleet import operating
from fleet.models import Fleet, Tick
from fleet.tick import scheduling
from tests.support.factories import NOON, a_fleet, seconds

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


def test_a_save_of_a_fleet_writes_its_task_only_if_something_changes(
    fleet: Fleet, django_assert_num_queries: Any
) -> None:
    """Beat reads its whole schedule again after each write of a task."""
    fleet = Fleet.objects.select_related("schedule__interval").get(pk=fleet.pk)
    with django_assert_num_queries(3):  # a savepoint, its release, and whether the name is free
        scheduling.keep_schedule(fleet)


def test_a_fleet_without_a_task_gets_one_of_its_own(fleet: Fleet) -> None:
    other = a_fleet()
    task = other.schedule_id
    Fleet.objects.filter(pk=fleet.pk).update(schedule=None)
    fleet.refresh_from_db()
    scheduling.keep_schedule(fleet)
    tasks = dict(Fleet.objects.values_list("pk", "schedule"))
    assert tasks[other.pk] == task
    assert tasks[fleet.pk] not in {task, None}
    assert fleet.tick_period == scheduling.DEFAULT_TICK


@pytest.mark.parametrize(
    ("ago", "left"), [(None, None), (5, 10), (0, 15), (15, None), (16, None), (-1, None)]
)
def test_how_long_until_the_next_tick(fleet: Fleet, ago: float | None, left: float | None) -> None:
    counts = {"token": 1, "active": 0, "desired": 0, "target": 0}
    Tick.objects.create(fleet=a_fleet(), at=NOON - seconds(1), **counts)
    if ago is not None:
        Tick.objects.create(fleet=fleet, at=NOON - seconds(ago), **counts)
    found = scheduling.until_next_tick(Fleet.objects.get(pk=fleet.pk), now=NOON)
    assert found == (None if left is None else seconds(left))


def test_a_switch_changes_the_fleets_task_alone_and_makes_none(fleet: Fleet) -> None:
    a_fleet()
    scheduling.switch(Fleet(name="new"), on=True)
    scheduling.switch(Fleet.objects.get(pk=fleet.pk), on=False)
    on = dict(PeriodicTask.objects.filter(task="fleet.tick").values_list("args", "enabled"))
    assert on.pop(f"[{fleet.pk}]") is False
    assert list(on.values()) == [True]


def test_a_task_is_named_after_its_fleet_and_only_a_taken_name_gets_the_id(fleet: Fleet) -> None:
    other = a_fleet(name="texts")
    assert scheduling._free_name(fleet) == "tick emb"  # its own task has that name
    fleet.name = "texts"
    scheduling.keep_schedule(fleet)
    names = dict(PeriodicTask.objects.values_list("args", "name"))
    assert names[f"[{fleet.pk}]"] == f"tick texts ({fleet.pk})"
    assert names[f"[{other.pk}]"] == "tick texts"


def test_an_interval_that_is_there_is_used_again(fleet: Fleet) -> None:
    for _ in range(2):
        scheduling.keep_schedule(fleet, every=timedelta(seconds=7))
    assert IntervalSchedule.objects.filter(every=7).count() == 1
