"""A test that commits leaves the rows of the migrations to the next one, whichever comes first."""

import pytest
from django.contrib.auth.models import Group
from django_celery_beat.models import PeriodicTask

TASKS = {"sweep", "nudge", "reconcile", "survey"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_that_commits_finds_the_schedule_and_the_roles(turn: int) -> None:
    assert set(PeriodicTask.objects.values_list("name", flat=True)) >= TASKS
    assert set(Group.objects.values_list("name", flat=True)) >= {"viewer", "operator", "admin"}
