"""A time without ticks opens no alert and ends none."""

from typing import Any

import pytest

from fleet.decision.alert_facts import (
    AlertFacts,
    Cause,
    FleetSeen,
    Incident,
    Severity,
    TickSeen,
)
from fleet.decision.alerts import alerts
from tests.support.factories import NOON, hours, seconds

NONE: dict[str, Any] = {"active": 0, "ready": 0, "items_per_second": None}


def ticks(depths: list[int | None], **values: Any) -> list[TickSeen]:
    """Ticks over the last ten minutes; the last one is 0 seconds old."""
    step = seconds(585 / (len(depths) - 1))
    facts = {"active": 4, "ready": 4, "items_per_second": 5.0, **values}
    return [
        TickSeen(at=NOON - step * (len(depths) - 1 - n), depth=depth, **facts)
        for n, depth in enumerate(depths)
    ]


def told(**facts: Any) -> list[Incident]:
    values = {
        **{"fleet_id": 1, "name": "emb", "alert_after": hours(24), "period": seconds(15)},
        **{"scheduled": True, "age": hours(100), "max_instances": 4, "last_tick_at": NOON, **facts},
    }
    return list(alerts(AlertFacts(now=NOON, fleets=[FleetSeen(**values)])))


def of_fleet(**facts: Any) -> list[str]:
    return sorted(incident.cause.value for incident in told(**facts))


def an_open(cause: Cause) -> dict[Cause, Incident]:
    """The alert of a fleet that is open already."""
    return {
        cause: Incident(
            cause=cause, subject="fleet:1", severity=Severity.CRITICAL, text="as before", fleet_id=1
        )
    }


LASTING: tuple[tuple[Cause, list[int | None], dict[str, Any]], ...] = (
    (Cause.NO_PODS, [9, 9, 9], {"binding": "no_offers", **NONE}),
    (Cause.BACKLOG_UNKNOWN, [None, None, None], NONE),
    (Cause.BACKLOG_GROWS, [100, 150, 200], {}),
    (Cause.NOT_DRAINED, [9, 9, 9], {"items_per_second": 0.0}),
)


@pytest.mark.parametrize(("cause", "depths", "values"), LASTING)
def test_a_time_without_ticks_opens_no_alert_and_ends_none(
    cause: Cause, depths: list[int | None], values: dict[str, Any]
) -> None:
    """After ten minutes without a broker, alerts ended and came back, although nothing had changed."""
    seen = ticks(depths, **values)
    assert of_fleet(ticks=seen) == [cause]
    for left in (seen[1:], seen[2:]):
        assert of_fleet(ticks=left) == []
        assert of_fleet(ticks=left, open=an_open(cause)) == [cause]
    assert of_fleet(ticks=[]) == []
    (same,) = told(ticks=[], open=an_open(cause))
    assert (same.cause, same.text) == (cause, "as before")
    assert of_fleet(ticks=[], open=an_open(cause), scheduled=False) == []


@pytest.mark.parametrize(("cause", "depths", "values"), LASTING)
def test_a_tick_that_shows_the_end_ends_an_open_alert(
    cause: Cause, depths: list[int | None], values: dict[str, Any]
) -> None:
    ended = TickSeen(at=NOON, depth=0, active=0, ready=0)
    last = ticks(depths, **values)[-2:]
    assert of_fleet(ticks=[*last, ended], open=an_open(cause)) == []
