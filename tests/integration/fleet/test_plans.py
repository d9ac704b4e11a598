"""PostgreSQL does not compile the queries of each minute: they run for a millisecond.

It compiles a query that it thinks is dear, and that takes it seconds. It guesses the rows of a table
that has no statistics, and multiplies them over joins and subqueries.
"""

from collections.abc import Callable
from typing import Any, Final

import pytest
from django.db import connection

from fleet.alerts import reconciling
from fleet.models import Fleet
from fleet.pages.overview import overview
from fleet.pages.status import status_of
from fleet.tick import ticking
from pods.emulators.base import SteppedClock
from pods.states import READY
from tests.support.factories import a_fleet, a_pod

COMPILED_ABOVE: Final = 100_000  # PostgreSQL's jit_above_cost
# An installation with one fleet has statistics of the tables that change often, and of no other.
BUSY: Final = ("fleet_fleet", "fleet_tick", "pods_pod")


def asked_by(work: Callable[[], Any]) -> list[tuple[str, Any]]:
    """The queries of the work that read rows, with their values."""
    asked = []

    def keep(execute: Any, query: str, params: Any, many: bool, context: Any) -> Any:
        if query.startswith("SELECT"):
            asked.append((query, params))
        return execute(query, params, many, context)

    with connection.execute_wrapper(keep):
        work()
    return asked


def cost_of(query: str, params: Any) -> float:
    """What PostgreSQL thinks that a query costs."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {query}", params)
        [plan] = cursor.fetchone()
    return float(plan[0]["Plan"]["Total Cost"])


@pytest.mark.django_db
def test_no_query_of_each_minute_is_so_dear_that_it_is_compiled(
    time: SteppedClock, redis_url: str
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite compiles no query")
    fleet = a_fleet()
    a_pod(fleet, READY)
    for _ in range(3):
        time.advance(15)
        ticking.tick_fleet(fleet.pk)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join(BUSY)}")
    fleet = Fleet.objects.get()
    works = (
        reconciling.reconcile_alerts,
        lambda: ticking.tick_fleet(fleet.pk),
        overview,
        lambda: status_of(fleet),
    )
    asked = [each for work in works for each in asked_by(work)]
    assert len(asked) > 50
    costs = [(cost_of(query, params), query[:300]) for query, params in asked]
    assert [each for each in costs if each[0] > COMPILED_ABOVE] == []
