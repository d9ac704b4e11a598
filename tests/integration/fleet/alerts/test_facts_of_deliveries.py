"""Which deliveries are claimed, sent again or given up, and what their messages say."""

import io
import json
import subprocess
from typing import Any

import pytest
from structlog.testing import capture_logs

from fleet.alerts import addresses, delivering, notifying, reconciling, sender
from fleet.decision.alert_facts import Cause, Incident, Severity
from fleet.models import Alert, Channel, Delivery
from pods.base import egress, sealing
from pods.emulators.base import SteppedClock
from tests.support.factories import NOON, a_fleet, an_alert, seconds

pytestmark = pytest.mark.django_db
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.fixture(autouse=True)
def at_noon(time: SteppedClock) -> None:
    pass


@pytest.fixture
def channel() -> Channel:
    made: Channel = Channel.objects.create(name="ops", sealed_url=sealing.seal(SLACK))
    return made


def a_delivery(channel: Channel, alert: Alert | None = None, **values: Any) -> Delivery:
    if alert is None:
        alert = an_alert(a_fleet(), subject=f"pod:{Delivery.objects.count()}")
    facts = {"announcement": 1, "due_at": NOON, **values}
    made: Delivery = Delivery.objects.create(alert=alert, channel=channel, **facts)
    return made


def test_a_channel_of_the_same_name_gets_another_address_and_others_keep_theirs() -> None:
    for name, url in (("other", SLACK), ("ops", SLACK), ("ops", SLACK + "/#b")):
        delivering.add_channel(name, url)
    found = {c.name: addresses.unseal(c.sealed_url) for c in Channel.objects.all()}
    assert found == {"other": SLACK, "ops": SLACK + "/#b"}


@pytest.mark.parametrize(
    ("row", "claimed", "unsure"),
    [
        ({}, True, False),
        ({"state": "sending"}, True, True),  # the worker that claimed it has died
        ({"state": "sent"}, False, False),
        ({"state": "failed"}, False, False),
        ({"due_at": NOON + seconds(1)}, False, False),
        ({"state": "sending", "due_at": NOON + seconds(1)}, False, False),  # a worker sends it
        ({"attempts": delivering.TRIES - 1}, True, False),
        ({"state": "sending", "attempts": delivering.TRIES}, False, False),
    ],
)
def test_which_deliveries_are_claimed(
    channel: Channel, settings: Any, row: dict[str, Any], claimed: bool, unsure: bool
) -> None:
    other = Channel.objects.create(name="other", sealed_url="")
    others = a_delivery(other, claim="of another worker", state="sending", due_at=NOON)
    made = a_delivery(channel, **row)
    mine, repeated = delivering._claim(channel)
    assert [d.pk for d in mine] == ([made.pk] if claimed else [])
    assert repeated == (frozenset([made.pk]) if unsure else frozenset())
    made.refresh_from_db()
    if claimed:
        assert (made.state, made.due_at) == ("sending", NOON + settings.CLAIM_LEASE)
        assert made.attempts == row.get("attempts", 0) + 1
    assert made.state == "failed" or row.get("attempts") != delivering.TRIES
    others.refresh_from_db()
    assert (others.claim, others.attempts) == ("of another worker", 0)


def test_one_claim_takes_the_oldest_and_leaves_the_rest(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "AT_ONCE", 2)
    made = [a_delivery(channel) for _ in range(3)]
    a_delivery(channel, claim="of another worker", state="sending", due_at=NOON + seconds(9))
    mine, _ = delivering._claim(channel)
    assert [d.pk for d in mine] == [d.pk for d in made[:2]]
    made[2].refresh_from_db()
    assert (made[2].state, made[2].attempts) == ("pending", 0)


@pytest.mark.parametrize("change", [{}, {"claim": "of another"}, {"state": "sent"}])
def test_only_a_delivery_whose_claim_is_still_ours_is_changed(
    channel: Channel, change: dict[str, Any]
) -> None:
    made, other = (a_delivery(channel, state="sending", claim="c") for _ in range(2))
    Delivery.objects.filter(pk=made.pk).update(**change)
    assert list(delivering._ours([made])) == ([] if change else [made])
    assert other not in delivering._ours([made])


@pytest.mark.parametrize(
    ("attempts", "state", "due"),
    [(delivering.TRIES - 1, "pending", 960), (delivering.TRIES, "failed", 0)],
)
def test_what_was_tried_often_enough_is_given_up(
    channel: Channel, attempts: int, state: str, due: float
) -> None:
    made = a_delivery(channel, state="sending", claim="c", attempts=attempts)
    delivering._postpone([made], "no answer")
    made.refresh_from_db()
    assert (made.state, made.last_error, made.claim) == (state, "no answer", "")
    assert made.due_at == NOON + seconds(due)


@pytest.mark.parametrize(("count", "messages"), [(0, 0), (1, 1), (3, 3), (4, 1)])
def test_more_than_three_announcements_at_once_are_one_message(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, count: int, messages: int
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(delivering, "_send", lambda _, title, *__, **___: sent.append(title))
    for _ in range(count):
        a_delivery(channel)
    assert (delivering.deliver(channel.pk), len(sent)) == (count, messages)


def test_a_message_has_twenty_lines_and_says_which_may_be_repeated(channel: Channel) -> None:
    alert = an_alert(a_fleet())
    made = [Delivery(pk=n, alert=alert, channel=channel, announcement=n) for n in range(1, 22)]
    title, body = delivering._message(made[:1], frozenset([1]))
    assert title == f"Podfleet: {alert.get_cause_display()}"
    assert body.endswith("UTC, perhaps a repetition)")
    title, body = delivering._message(made[:20], frozenset([2]))
    lines = body.splitlines()
    assert (title, len(lines)) == ("Podfleet: 20 alerts", 20)
    assert [n for n, line in enumerate(lines, 1) if "repetition" in line] == [2]
    _, body = delivering._message(made, frozenset())
    assert body.splitlines()[-1].startswith("and 1 more; see `")


@pytest.mark.parametrize(
    ("status", "undelivered", "logged"),
    [(0, False, []), (sender.REFUSED, True, []), (1, True, ["sender_broke"])],
)
def test_how_the_process_that_sends_may_end(
    channel: Channel, monkeypatch: pytest.MonkeyPatch,
    status: int, undelivered: bool, logged: list[str],
) -> None:  # fmt: skip
    ended = subprocess.CompletedProcess([], status, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with capture_logs() as logs:
        if undelivered:
            with pytest.raises(delivering.Undelivered, match="did not accept"):
                delivering.try_channel(channel)
        else:
            delivering.try_channel(channel)
    assert [each["event"] for each in logs] == logged


@pytest.mark.parametrize(("taken", "status"), [(True, 0), (False, sender.REFUSED)])
@pytest.mark.parametrize("private_too", [True, False])
def test_the_process_that_sends_stays_outside_private_networks_before_it_sends(
    monkeypatch: pytest.MonkeyPatch, taken: bool, status: int, private_too: bool
) -> None:
    did: list[str] = []

    def notify(url: str, **said: Any) -> bool:
        did.append(f"{url} {said['severity'].value}")
        return taken

    monkeypatch.setattr(egress, "stay_outside", lambda: did.append("stays outside"))
    monkeypatch.setattr(notifying, "notify", notify)
    asked = {"url": "u", "title": "t", "body": "b", "severity": "critical"}
    text = json.dumps({**asked, "private_too": private_too})
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert sender.main() == status
    assert did == [*([] if private_too else ["stays outside"]), "u critical"]


@pytest.mark.parametrize(
    ("known", "found", "channels", "changes"),
    [
        (0, 0, 0, None),
        (1, 1, 0, None),  # it was announced before
        (0, 1, 0, (1, 0, 0)),
        (1, 0, 0, (0, 1, 0)),
        (0, 1, 1, (1, 0, 1)),
    ],
)
def test_a_change_of_alerts_is_logged(
    monkeypatch: pytest.MonkeyPatch, known: int, found: int, channels: int, changes: Any
) -> None:
    fleet = a_fleet()
    for _ in range(known):
        an_alert(fleet, cause="no_pods", subject="s", text="t", told=True)
    for n in range(channels):
        Channel.objects.create(name=f"c{n}", sealed_url="")
    incident = Incident(
        cause=Cause.NO_PODS, subject="s", severity=Severity.WARNING, text="t", fleet_id=fleet.pk
    )
    monkeypatch.setattr(reconciling, "alerts", lambda _: [incident] * found)
    with capture_logs() as logs:
        reconciling.reconcile_alerts()
    seen = [
        (each["opened"], each["resolved"], each["announced"])
        for each in logs
        if each["event"] == "alerts_changed"
    ]
    assert seen == ([] if changes is None else [changes])
    assert Alert.objects.open().count() == found


def test_an_alert_that_waits_for_a_channel_is_announced_and_that_is_logged(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = an_alert(a_fleet(), cause="no_pods", subject="s", text="t")
    incident = Incident(
        cause=Cause.NO_PODS, subject="s", severity=Severity.WARNING, text="t",
        fleet_id=alert.fleet_id,
    )  # fmt: skip
    monkeypatch.setattr(reconciling, "alerts", lambda _: [incident])
    with capture_logs() as logs:
        changes = reconciling.reconcile_alerts()
    assert (changes.opened, changes.resolved, changes.announced) == (0, 0, 1)
    assert [each["event"] for each in logs] == ["alerts_changed"]
