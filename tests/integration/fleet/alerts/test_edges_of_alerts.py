"""Single conditions of alerts and channels, each in the case in which it alone decides."""

from datetime import timedelta
from typing import Any

import pytest

from fleet.alerts import addresses, answering, delivering, reconciling
from fleet.alerts.addresses import BadAddress
from fleet.decision.alerts import Cause, Incident, Severity
from fleet.models import Alert, Channel, Delivery, Fleet
from pods.base import clock, sealing
from pods.emulators.base import SteppedClock
from tests.support.factories import a_fleet, an_alert, hours

pytestmark = pytest.mark.django_db


def incident(alert: Alert, **changes: Any) -> Incident:
    facts: dict[str, Any] = {
        "cause": Cause(alert.cause),
        "subject": alert.subject,
        "fleet_id": alert.fleet_id,
        "severity": Severity(alert.severity),
        "text": alert.text,
        "round": alert.round,
    }
    return Incident(**{**facts, **changes})


def test_an_alert_that_grows_and_keeps_its_words_is_announced_again(time: SteppedClock) -> None:
    alert = an_alert(a_fleet(), told=True)
    reconciling._refresh([(alert, incident(alert))], time())
    alert.refresh_from_db()
    assert (alert.told, alert.round) == (True, 1)
    reconciling._refresh([(alert, incident(alert, round=2))], time())
    alert.refresh_from_db()
    assert (alert.told, alert.round) == (False, 2)


@pytest.mark.parametrize("change", [{"text": "other words"}, {"severity": Severity.CRITICAL}])
def test_an_alert_that_changes_and_does_not_grow_is_not_announced_again(
    time: SteppedClock, change: dict[str, Any]
) -> None:
    alert = an_alert(a_fleet(), told=True)
    reconciling._refresh([(alert, incident(alert, **change))], time())
    stored = Alert.objects.get()
    (name, value), *_ = change.items()
    assert (stored.told, getattr(stored, name)) == (True, value)


def test_a_fleet_without_a_schedule_is_read_too(time: SteppedClock) -> None:
    a_fleet(name="emb")
    Fleet.objects.update(schedule=None)
    [seen] = reconciling.gather(time()).fleets
    assert not seen.scheduled


def test_a_fleet_whose_schedule_is_off_does_not_count_as_scheduled(time: SteppedClock) -> None:
    fleet = a_fleet(name="emb")
    assert [f.scheduled for f in reconciling.gather(time()).fleets] == [True]
    assert fleet.schedule is not None
    fleet.schedule.enabled = False
    fleet.schedule.save()
    assert [f.scheduled for f in reconciling.gather(time()).fleets] == [False]


def test_a_channel_that_is_written_without_an_address_keeps_its_address() -> None:
    channel = Channel(name="ops")
    delivering.write_channel(channel, "json://example.com/hook")
    delivering.write_channel(channel, "")
    assert sealing.unseal(Channel.objects.get().sealed_url) == "json://example.com/hook"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("slack://", "needs a host, a token or a topic"),
        ("slack://x", "not complete for its scheme"),
        ("example.com/hook", "no:// is not allowed"),
    ],
)
def test_an_address_that_lacks_a_part_is_refused(url: str, says: str) -> None:
    with pytest.raises(BadAddress, match=says):
        delivering.check_address(url)


def test_a_public_topic_needs_no_host_of_its_own(settings: Any) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    addresses.check("ntfy://my-topic")
    with pytest.raises(BadAddress):
        addresses.check("ntfy://127.0.0.1/my-topic")


def test_a_message_says_whether_its_alert_has_ended(time: SteppedClock) -> None:
    alert = an_alert(a_fleet())
    channel = Channel.objects.create(name="ops", sealed_url="")
    now = clock.utcnow()
    made = Delivery.objects.create(alert=alert, channel=channel, announcement=1, due_at=now)
    _, body = delivering._message([made], frozenset())
    assert body.endswith(f"since {now:%F %H:%M} UTC)")
    alert.resolved_at = now + hours(1)
    _, body = delivering._message([made], frozenset())
    assert body.endswith(f", ended at {now + hours(1):%H:%M})")


def test_a_snooze_into_the_past_is_refused_and_one_second_ahead_is_not(time: SteppedClock) -> None:
    alert = an_alert(a_fleet())
    with pytest.raises(ValueError, match="is in the past"):
        answering.snooze([alert], until=time(), by="ann")
    assert answering.snooze([alert], until=time() + timedelta(seconds=1), by="ann") == 1
