"""A test that commits leaves the rows of the migrations to the next one, whichever comes first."""

import pytest
from django.contrib.auth.models import Group
from django_celery_beat.models import PeriodicTask

from config.env import ROOT
from tests.support import migrated_rows

TASKS = {"issue keys", "sweep", "nudge", "reconcile", "survey"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_that_commits_finds_the_schedule_and_the_roles(turn: int) -> None:
    assert set(PeriodicTask.objects.values_list("name", flat=True)) >= TASKS
    assert set(Group.objects.values_list("name", flat=True)) >= {"viewer", "operator", "admin"}


def test_every_migration_that_makes_periodic_tasks_is_known() -> None:
    makes = {
        f"{app}.migrations.{path.stem}"
        for app in ("fleet", "pods")
        for path in (ROOT / app / "migrations").glob("0*.py")
        if "def make_schedule(" in path.read_text()
    }
    assert makes == set(migrated_rows.SCHEDULES)
