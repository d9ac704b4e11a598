"""A preview, a page and `watch` read; only a tick writes."""

import pytest

from fleet.pages.status import status_of
from fleet.tick import gathering, requesting, ticking
from pods.base import clock
from pods.states import READY
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db


def test_reading_does_not_prove_a_template_and_a_tick_does(redis_url: str) -> None:
    fleet = a_fleet()
    a_pod(fleet, READY, done=1)
    fleet.refresh_from_db()
    assert gathering.gather(fleet, clock.utcnow()).seen.proven
    ticking.preview(fleet)
    status_of(fleet)
    fleet.refresh_from_db()
    assert fleet.proven_template == ""
    ticking.tick_fleet(fleet.pk)
    fleet.refresh_from_db()
    assert fleet.proven_template == requesting.template_hash(fleet)
