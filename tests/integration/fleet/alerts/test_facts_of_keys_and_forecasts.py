"""What alerts read of issued keys, forecasts, archived fleets, accounts and servers."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.alerts import answering, reconciling, servers
from fleet.models import Alert, AlertAnswer, Backlog, Balance, Dataset, Fleet, FleetForecast
from fleet.models.forecasts import FRESH_FOR
from fleet.models.secrets import IssuedKeys
from pods.emulators.base import SteppedClock
from pods.states import READY
from tests.support.factories import NOON, a_fleet, a_pod, an_account, an_alert, hours, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def at_noon(time: SteppedClock) -> None:
    pass


def read(fleet: Fleet) -> Any:
    """The fleet as the sweep of alerts reads it."""
    return next(each for each in reconciling.gather(NOON).fleets if each.fleet_id == fleet.pk)


@pytest.mark.parametrize(
    ("row", "fails", "fails_for"),
    [
        (None, "", None),
        ({"error": "", "failing_since": None}, "", timedelta(0)),
        ({"error": "no", "failing_since": NOON - hours(1)}, "no", hours(1)),
    ],
)
def test_for_how_long_no_keys_were_issued(
    row: dict[str, Any] | None, fails: str, fails_for: Any
) -> None:
    fleet = a_fleet()
    if row is not None:
        IssuedKeys.objects.create(fleet=fleet, expires_at=NOON, **row)
    seen = reconciling._keys(fleet, NOON)
    found = (seen.get("keys_fail", ""), seen.get("keys_fail_for"), seen.get("keys_end"))
    assert found == (fails, fails_for, None if row is None else NOON)


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (None, False),
        ({}, True),
        ({"replays": 0}, False),
        ({"at": NOON - FRESH_FOR}, True),
        ({"at": NOON - FRESH_FOR - seconds(1)}, False),
        ({"on_time": 0.5}, True),
        ({"on_time": 0.5, "drain_by": NOON}, False),  # of another deadline
        ({"drain_by": NOON}, True),  # without a share that is in time, no deadline counts
    ],
)
def test_a_forecast_counts_while_it_is_new_and_of_the_present_deadline(
    row: dict[str, Any] | None, shown: bool
) -> None:
    fleet = a_fleet(drain_by=NOON + hours(1))
    if row is not None:
        facts = {"at": NOON, "replays": 9, "drain_by": fleet.drain_by, "left": 4, **row}
        FleetForecast.objects.create(fleet=fleet, **facts)
    seen = reconciling._forecast(fleet, NOON)
    assert (seen is not None and seen.left == 4) is shown


@pytest.mark.parametrize("archived", [None, NOON])
def test_what_an_archived_fleet_spent_today_counts_for_the_installation(archived: Any) -> None:
    fleet, other = a_fleet(), a_fleet(archived_at=archived)
    for each in (fleet, other):
        pod = a_pod(each, READY, hourly_usd=Decimal(2))
        pod.segments.update(since=NOON - hours(1))
    seen = reconciling.gather(NOON)
    assert seen.archived_today_usd == (2 if archived else 0)
    assert read(fleet).spent_today_usd == 2


@pytest.mark.parametrize("rows_fail", [None, "", "too many failed"])
def test_failed_rows_are_those_of_the_fleets_dataset(rows_fail: str | None) -> None:
    fleet = a_fleet()
    if rows_fail is not None:
        Dataset.objects.create(
            fleet=fleet, sink="file:///x", part_format="jsonl", fed_at=NOON, rows_fail=rows_fail
        )
    assert read(fleet).rows_fail == (rows_fail or "")


def test_a_balance_is_that_of_its_account_and_may_be_unknown() -> None:
    known, unknown = an_account(), an_account()
    Balance.objects.create(account=known, at=NOON, usd=5, booked_micros=0)
    found = {
        a.account_id: (a.balance_usd, a.balance_fresh) for a in reconciling.gather(NOON).accounts
    }
    assert found == {known.pk: (5, True), unknown.pk: (None, False)}


def test_a_fleet_is_judged_by_the_server_of_its_backlog_unless_that_is_rabbitmq(
    settings: Any,
) -> None:
    settings.REDIS_URL = "redis://installation"
    own = "redis://own"
    rows = [
        (Backlog.REDIS_STREAM, own, own),
        (Backlog.REDIS_STREAM, "", "redis://installation"),
        (Backlog.CELERY_RABBITMQ, own, "redis://installation"),
    ]
    for backlog, address, asked in rows:
        assert servers._address(Fleet(backlog=backlog, backlog_url=address)) == asked


def test_a_server_is_asked_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    at = [100.0]
    monkeypatch.setattr(servers, "_said", {})
    monkeypatch.setattr(servers, "monotonic", lambda: at[0])
    monkeypatch.setattr(servers, "eviction_of", lambda _: asked.append(at[0]) or "it deletes keys")
    for moment in (100.0, 159.9, 160.0, 200.0):
        at[0] = moment
        assert servers._eviction("redis://127.0.0.1:1/0") == "it deletes keys"
    assert asked == [100.0, 160.0]


@pytest.mark.parametrize(
    ("row", "taken_back"),
    [
        ({}, 0),
        ({"acknowledged_at": NOON}, 1),
        ({"snoozed_until": NOON + seconds(1)}, 1),
        ({"snoozed_until": NOON}, 0),
        ({"acknowledged_at": NOON, "resolved_at": NOON}, 0),
    ],
)
def test_only_what_silences_an_open_alert_is_taken_back(
    row: dict[str, Any], taken_back: int
) -> None:
    fleet = a_fleet()
    mine = an_alert(fleet, **row)
    other = an_alert(fleet, subject="pod:2", acknowledged_at=NOON)
    assert answering.take_back([mine], by="ann") == taken_back
    assert AlertAnswer.objects.count() == taken_back
    assert Alert.objects.get(pk=other.pk).acknowledged_at == NOON
    if taken_back:
        mine.refresh_from_db()
        assert (mine.acknowledged_at, mine.snoozed_until) == (None, None)


def test_only_alerts_whose_snooze_has_ended_are_announced_again() -> None:
    fleet = a_fleet()
    rows: list[dict[str, Any]] = [
        {"snoozed_until": NOON},
        {"snoozed_until": NOON + seconds(1)},
        {"snoozed_until": None},
        {"snoozed_until": NOON, "resolved_at": NOON},
    ]
    made = [an_alert(fleet, subject=f"s{n}", told=True, **row) for n, row in enumerate(rows)]
    reconciling._announce(NOON)
    for alert in made:
        alert.refresh_from_db()
    assert [alert.snoozed_until for alert in made] == [None, NOON + seconds(1), None, NOON]
    assert [alert.announcements for alert in made] == [1, 0, 0, 0]


def test_an_alert_that_was_not_told_and_does_not_grow_stays_untold() -> None:
    alert = an_alert(a_fleet(), cause="no_pods")
    seen = reconciling._open_alerts()[alert.subject]
    [incident] = seen.values()
    reconciling._refresh([(alert, incident)], NOON)
    changed = type(incident)(
        cause=incident.cause, subject=incident.subject, severity=incident.severity, text="other",
        fleet_id=incident.fleet_id, round=incident.round,
    )  # fmt: skip
    reconciling._refresh([(alert, changed)], NOON)
    alert.refresh_from_db()
    assert (alert.text, alert.told) == ("other", False)


def test_an_alert_that_did_not_change_is_not_written(django_assert_num_queries: Any) -> None:
    alert = an_alert(a_fleet(), cause="no_pods")
    [incident] = reconciling._open_alerts()[alert.subject].values()
    with django_assert_num_queries(1):  # when it was last seen, of all at once
        reconciling._refresh([(alert, incident)], NOON)
