"""An alert about ticks begins after a whole window, and ends when a tick shows the end of its cause."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from fleet.decision.alert_facts import (
    AlertFacts,
    Cause,
    FleetSeen,
    Incident,
    PodSeen,
    Severity,
    TickSeen,
)
from fleet.decision.alerts import alerts
from tests.support.factories import NOON, hours, seconds

# For each cause: a tick that has it, and ticks that show that it has ended.
HELD: dict[Cause, tuple[dict[str, Any], Sequence[dict[str, Any]]]] = {
    Cause.NO_PODS: (
        {"depth": 9, "active": 0, "ready": 0, "binding": "no_offers"},
        [
            {"depth": 9, "active": 1, "ready": 1},
            {"depth": 0, "active": 0, "ready": 0},
            {"depth": 9, "active": 0, "ready": 0, "binding": "paused"},
        ],
    ),
    Cause.BACKLOG_UNKNOWN: (
        {"depth": None, "active": 0, "ready": 0},
        [{"depth": 0, "active": 0, "ready": 0}, {"depth": 9, "active": 1, "ready": 1}],
    ),
    Cause.NOT_DRAINED: (
        {"depth": 9, "active": 1, "ready": 1},
        [
            {"depth": 8, "active": 1, "ready": 1},
            {"depth": 9, "active": 1, "ready": 1, "items_per_second": 1.0},
            {"depth": 0, "active": 1, "ready": 1},
            {"depth": 9, "active": 1, "ready": 0},
        ],
    ),
}
UNKNOWN = {"depth": None, "active": 1, "ready": 1, "because": "Redis does not answer"}


def an_open(cause: Cause) -> Incident:
    return Incident(cause=cause, subject="fleet:1", severity=Severity.CRITICAL, text="as before")


def a_fleet_of(ticks: Sequence[TickSeen], **values: Any) -> FleetSeen:
    return FleetSeen(
        fleet_id=1,
        name="emb",
        alert_after=hours(24),
        last_tick_at=NOON,
        undecided_for=hours(0),
        max_instances=9,
        ticks=ticks,
        **{"period": seconds(15), "scheduled": True, **values},
    )


def told(ticks: Sequence[TickSeen], *, alerting: Sequence[Cause] = (), **values: Any) -> list[str]:
    fleet = a_fleet_of(ticks, open={cause: an_open(cause) for cause in alerting}, **values)
    return [f.cause.value for f in alerts(AlertFacts(now=NOON, fleets=[fleet]))]


def at(ago: Sequence[float], values: dict[str, Any]) -> list[TickSeen]:
    return [TickSeen(at=NOON - seconds(s), **values) for s in ago]


WHOLE = range(600, -1, -15)


@pytest.mark.parametrize("cause", HELD)
def test_an_alert_begins_after_a_whole_window_without_a_gap(cause: Cause) -> None:
    held, _ = HELD[cause]
    assert told(at(WHOLE, held)) == [cause.value]
    assert told(at(range(525, -1, -15), held)) == []
    assert told(at([3600, *range(500, -1, -15)], held)) == []  # nobody looked for 51 minutes
    assert told(at([900, *range(240, -1, -15)], held)) == []


@pytest.mark.parametrize("cause", HELD)
def test_an_open_alert_lasts_over_a_gap_and_over_unknown_ticks(cause: Cause) -> None:
    held, _ = HELD[cause]
    assert told(at([3600, *range(500, -1, -15)], held), alerting=[cause]) == [cause.value]
    assert told(at([30, 15], held), alerting=[cause]) == [cause.value]
    assert told(at([3600], held), alerting=[cause]) == [cause.value]  # no tick since
    if cause is not Cause.BACKLOG_UNKNOWN:
        seen = [*at(WHOLE, held)[:-2], *at([15, 0], {**held, "depth": None, "because": "x"})]
        assert told(seen) == []
        assert told(seen, alerting=[cause]) == [cause.value]
        unknown = at(WHOLE, {**held, "depth": None, "because": "x"})
        assert cause.value in told(unknown, alerting=[cause])


@pytest.mark.parametrize("cause", HELD)
def test_an_open_alert_ends_with_a_tick_that_shows_the_end(cause: Cause) -> None:
    held, ends = HELD[cause]
    for end in ends:
        assert told([*at(WHOLE, held), *at([0], end)], alerting=[cause]) == [], end


def test_a_growing_backlog_lasts_until_it_shrinks_or_a_pod_is_missing() -> None:
    full = {"active": 9, "ready": 9, "items_per_second": 5.0}
    grows = at([30], {**full, "depth": 100}) + at([0], {**full, "depth": 200})
    cause = [Cause.BACKLOG_GROWS]
    assert told(grows) == []
    assert (
        told(
            at([615], {**full, "depth": 100}) + at(range(600, -1, -15), {**full, "depth": 100}),
            alerting=cause,
        )
        == []
    )
    assert told(grows, alerting=cause) == ["backlog_grows"]
    unknown = at([15], {**full, "depth": 100}) + at([0], {**full, "depth": None})
    assert told(unknown, alerting=cause) == ["backlog_grows"]
    assert told(grows[1:] + at([0], {**full, "depth": 100}), alerting=cause) == []
    assert told(grows + at([0], {**full, "active": 8, "depth": 300}), alerting=cause) == []


@pytest.mark.parametrize("minutes", [10, 15, 60])
def test_a_fleet_with_rare_ticks_needs_two_of_them(minutes: int) -> None:
    held, _ = HELD[Cause.NO_PODS]
    ago = [minutes * 60 + 30, 30]
    assert told(at(ago, held), period=seconds(minutes * 60)) == ["no_pods"]
    assert told(at(ago[:1], held), period=seconds(minutes * 60)) == []


def test_an_unknown_backlog_of_a_held_fleet_without_pods_is_not_announced() -> None:
    held, _ = HELD[Cause.BACKLOG_UNKNOWN]
    fleet = a_fleet_of(at(WHOLE, held), held=True, open={})
    assert alerts(AlertFacts(now=NOON, fleets=[fleet])) == frozenset()
    pod = PodSeen(pod_id=7, name="p7", fleet_id=1, age=hours(1), hourly_usd=Decimal(1))
    found = alerts(AlertFacts(now=NOON, fleets=[fleet], pods=[pod]))
    assert [f.cause for f in found] == [Cause.BACKLOG_UNKNOWN]


@pytest.mark.parametrize("cause", [*HELD, Cause.BACKLOG_GROWS])
def test_an_open_alert_lasts_while_beat_should_tick_and_no_tick_is_left(cause: Cause) -> None:
    assert told([]) == []
    assert told([], alerting=[cause]) == [cause.value]
    fleet = a_fleet_of([], open={cause: an_open(cause)})
    assert alerts(AlertFacts(now=NOON, fleets=[fleet])) == {an_open(cause)}  # also its text
    assert told([], alerting=[cause], scheduled=False) == []
    if cause in HELD:
        assert told(at([3600], HELD[cause][0]), alerting=[cause], scheduled=False) == []


@pytest.mark.parametrize(
    ("said", "depth", "is_open", "expected"),
    [
        (True, 9, False, ["all_fail"]),
        (True, 9, True, ["all_fail"]),
        (None, 9, True, ["all_fail"]),  # its pods were ended, or a new one has tried nothing yet
        (None, None, True, ["all_fail"]),
        (None, 0, True, []),
        (None, 9, False, []),
        (False, 9, True, []),
    ],
)
def test_work_that_always_fails_is_announced_until_an_item_succeeds(
    said: bool | None, depth: int | None, is_open: bool, expected: list[str]
) -> None:
    last = [TickSeen(at=NOON, depth=depth, active=1, ready=1)]
    alerting = [Cause.ALL_FAIL] if is_open else []
    assert told(last, alerting=alerting, all_fail=said) == expected
