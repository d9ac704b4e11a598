"""A fleet learns for how long its pods boot."""

from datetime import timedelta

import pytest

from fleet.models import Fleet
from fleet.tick.gathering import gather
from pods.base.clock import utcnow
from pods.states import READY
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db


def booted(fleet: Fleet, *, held_up: float, boot: float) -> None:
    """A pod whose machine was requested `held_up` seconds after its row was made."""
    asked = utcnow() - timedelta(hours=1)
    a_pod(
        fleet,
        READY,
        requested_at=asked - timedelta(seconds=held_up),
        asked_at=asked,
        ready_at=asked + timedelta(seconds=boot),
    )


def test_a_boot_is_counted_from_the_request_that_made_the_machine() -> None:
    fleet = a_fleet()
    assert gather(fleet, utcnow()).seen.boot_time is None
    for boot in (80, 120, 100):
        booted(fleet, held_up=500, boot=boot)
    assert gather(fleet, utcnow()).seen.boot_time == timedelta(seconds=100)
