"""An archived fleet is the one that was read, and no pod appeared meanwhile."""

from typing import Any

import pytest
from django.db import connection

from fleet.models import Fleet, Shadow
from fleet.tick import archiving
from pods.lifecycle import Overtaken
from pods.states import READY
from tests.support.factories import NOON, a_fleet, a_pod, hours

pytestmark = pytest.mark.django_db


def test_a_fleet_is_archived_alone_with_its_shadow() -> None:
    fleet, other = a_fleet(), a_fleet()
    for each in (fleet, other):
        Shadow.objects.create(
            fleet=each, settings={}, changes={}, by="ann", since=NOON, until=NOON + hours(1)
        )
    version = other.version
    assert archiving.archive_if_empty(fleet, by="ann")
    assert [shadow.fleet for shadow in Shadow.objects.all()] == [other]
    other.refresh_from_db()
    assert (other.archived_at, other.version) == (None, version)


def test_a_fleet_that_was_edited_since_it_was_read_is_not_archived() -> None:
    fleet, other = a_fleet(), a_fleet()
    Fleet.objects.filter(pk=fleet.pk).update(version=fleet.version + 1)
    assert other.version == fleet.version
    with pytest.raises(Overtaken, match="changed"):
        archiving.archive_if_empty(fleet, by="ann")


def test_a_fleet_of_which_a_pod_appears_at_that_moment_is_not_archived() -> None:
    fleet = a_fleet()

    def appears(execute: Any, sql: str, *rest: Any) -> Any:
        done = execute(sql, *rest)
        if sql.startswith("UPDATE") and not fleet.pods.exists():
            a_pod(fleet, READY)
        return done

    with connection.execute_wrapper(appears), pytest.raises(Overtaken, match="appeared"):
        archiving.archive_if_empty(fleet, by="ann")
    assert Fleet.objects.get(pk=fleet.pk).archived_at is None


def test_a_fleet_with_a_pod_stays_as_it_is() -> None:
    fleet = a_fleet()
    a_pod(fleet, READY)
    assert not archiving.archive_if_empty(fleet, by="ann")
    assert Fleet.objects.get(pk=fleet.pk).version == fleet.version
