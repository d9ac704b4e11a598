"""Alerts go out once, and a dead worker loses none; with real HTTP and real processes."""

import io
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from time import monotonic
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from config.env import ROOT
from fleet.alerts import addresses, delivering
from fleet.alerts.addresses import BadAddress
from fleet.models import Alert, Channel, Delivery
from pods.base import clock, egress, sealing
from pods.emulators.base import SteppedClock
from tests.support.programs import command
from tests.support.waiting import patience
from tests.support.webhook import Webhook

pytestmark = pytest.mark.django_db


class Receiver(Webhook):
    """A webhook server that keeps its messages, and runs the test's code during a request."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        self.meanwhile: Callable[[], None] = lambda: None
        self.url = f"json://{self.address}/hook"

    def take(self, body: bytes, _headers: Message) -> int:
        self.messages.append(json.loads(body))
        self.meanwhile()
        return self.status

    @property
    def bodies(self) -> list[str]:
        return [m["message"] for m in self.messages]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with made.serving():
        yield made


@pytest.fixture
def time() -> Iterator[SteppedClock]:
    stepped = SteppedClock(clock.utcnow())
    with clock.use(stepped):
        yield stepped


@pytest.fixture
def channel(receiver: Receiver, settings: Any) -> Channel:
    settings.ALLOW_PRIVATE_WEBHOOKS = True
    return delivering.add_channel("ops", receiver.url)


def due(channel: Channel, count: int = 1) -> list[Delivery]:
    now = clock.utcnow()
    made = []
    for n in range(count):
        alert = Alert.objects.create(
            cause="pod_old",
            subject=f"pod:{n}",
            severity="warning",
            text=f"pod {n} is old",
            first_seen_at=now,
            last_seen_at=now,
        )
        made.append(
            Delivery.objects.create(alert=alert, channel=channel, announcement=1, due_at=now)
        )
    return made


def test_an_announcement_goes_out_once(
    channel: Channel, receiver: Receiver, time: SteppedClock
) -> None:
    delivery = due(channel)[0]
    assert [delivering.deliver(channel.pk) for _ in range(3)] == [1, 0, 0]
    assert len(receiver.bodies) == 1
    assert f"pod 0 is old (#{delivery.alert_id}.1" in receiver.bodies[0]
    assert "repetition" not in receiver.bodies[0]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.sent_at, delivery.attempts) == ("sent", time.now, 1)


def test_many_announcements_at_once_are_one_message(
    channel: Channel, receiver: Receiver, time: SteppedClock
) -> None:
    due(channel, 25)
    assert delivering.deliver(channel.pk) == 25
    assert len(receiver.messages) == 1
    assert receiver.messages[0]["title"] == "Podfleet: 25 alerts"
    assert "and 5 more" in receiver.bodies[0]


@pytest.mark.fault(54)
def test_a_refused_message_is_sent_again_later_and_finally_given_up(
    channel: Channel, receiver: Receiver, time: SteppedClock
) -> None:
    delivery = due(channel)[0]
    receiver.status = 500
    assert delivering.deliver(channel.pk) == 0
    assert delivering.deliver(channel.pk) == 0
    assert len(receiver.messages) == 1  # the pause before the next try has not ended
    for _ in range(20):
        time.advance(24 * 3600)
        delivering.deliver(channel.pk)
    delivery.refresh_from_db()
    assert (delivery.state, len(receiver.messages)) == ("failed", delivering.TRIES)
    assert "did not accept the message" in delivery.last_error


@pytest.mark.fault(54)
def test_a_channel_that_does_not_answer_in_time_is_tried_again_later(
    channel: Channel, receiver: Receiver, time: SteppedClock
) -> None:
    delivery = due(channel)[0]
    answered = threading.Event()
    receiver.meanwhile = lambda: answered.wait(patience(60))
    began = monotonic()
    assert delivering.deliver(channel.pk) == 0
    assert monotonic() - began < patience(
        30
    )  # a worker that waits longer would delay the other channels
    answered.set()
    delivery.refresh_from_db()
    assert delivery.state == "pending"
    assert delivery.due_at > time.now


def test_a_refused_message_arrives_when_the_channel_works_again(
    channel: Channel, receiver: Receiver, time: SteppedClock
) -> None:
    due(channel)
    receiver.status = 503
    delivering.deliver(channel.pk)
    receiver.status = 200
    time.advance(15)
    assert delivering.deliver(channel.pk) == 1
    assert "repetition" not in receiver.bodies[1]  # it is known that the first did not arrive


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_send_one_message(
    channel: Channel, receiver: Receiver, time: SteppedClock
) -> None:
    due(channel)
    others: list[int] = []

    def second_worker() -> None:
        receiver.meanwhile = lambda: None
        try:
            others.append(delivering.deliver(channel.pk))
        finally:
            connection.close()

    receiver.meanwhile = second_worker
    assert delivering.deliver(channel.pk) == 1
    assert (others, len(receiver.messages)) == ([0], 1)


@pytest.mark.django_db(transaction=True)
def test_after_a_kill_while_sending_the_alert_is_sent_again_and_marked_as_a_repetition(
    channel: Channel, receiver: Receiver, settings: Any
) -> None:
    delivery = due(channel)[0]
    arrived, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        go_on.wait(patience(60))

    receiver.meanwhile = hold
    worker = subprocess.Popen(
        command("deliver", channel.pk),
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PODFLEET_ALLOW_PRIVATE_WEBHOOKS": "1",
        },
    )
    try:
        assert arrived.wait(patience(60))
        worker.send_signal(signal.SIGKILL)
        worker.wait(patience(30))
    finally:
        worker.kill()
        worker.wait(patience(30))
        receiver.meanwhile = lambda: None
        go_on.set()
    assert delivering.deliver(channel.pk) == 0  # the dead worker still holds the claim
    stepped = SteppedClock(clock.utcnow() + settings.CLAIM_LEASE)
    with clock.use(stepped):
        assert delivering.deliver(channel.pk) == 1
        assert delivering.deliver(channel.pk) == 0
    assert [("perhaps a repetition" in body) for body in receiver.bodies] == [False, True]
    reference = f"#{delivery.alert_id}.1"
    assert all(reference in body for body in receiver.bodies)


def test_a_redirect_is_not_followed(
    channel: Channel, receiver: Receiver, time: SteppedClock
) -> None:
    due(channel)
    receiver.status, receiver.location = 307, receiver.url.replace("json:", "http:")
    assert delivering.deliver(channel.pk) == 0
    assert len(receiver.messages) == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("json://127.0.0.1/x", "private network"),
        ("json://localhost:8000/x", "private network"),
        ("jsons://10.1.2.3/x", "private network"),
        ("json://169.254.169.254/latest/meta-data", "private network"),
        ("json://[::1]/x", "private network"),
        ("json://[::ffff:127.0.0.1]/x", "private network"),
        ("json://0x7f000001/x", "private network"),
        ("mailto://u:p@93.184.216.34?smtp=127.0.0.1", "private network"),
        ("ntfy://127.0.0.1/topic", "private network"),
        ("ntfy://127.0.0.1?mode=private&to=topic", "private network"),
        ("file:///etc/passwd", "not allowed"),
        ("syslog://localhost", "not allowed"),
        ("dbus://", "not allowed"),
        ("slack://a/b/c?template=/etc/passwd", "template is not allowed"),
        ("json://93.184.216.34/x?redirect=yes", "redirect is not allowed"),
        ("127.0.0.1", "not allowed"),
        ("json://93.184.216.34/x?to=a;template=/etc/passwd", "separate parameters with &"),
        ("json://93.184.216.34/x?%20template=/etc/passwd", "template is not allowed"),
        ("json://93.184.216.34\\@127.0.0.1/x", "private network|cannot be resolved|not complete"),
    ],
)
def test_an_address_on_a_private_network_is_refused(url: str, why: str) -> None:
    with pytest.raises(BadAddress, match=why):
        delivering.add_channel("ops", url)
    assert not Channel.objects.exists()


@pytest.mark.parametrize(
    "url",
    [
        "json://93.184.216.34/hook?+X-Token=a",
        "ntfy://a-topic",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
        "pagerduty://0123456789abcdef0123456789abcdef@0123456789abcdef0123456789abcdef",
    ],
)
def test_an_allowed_address_is_stored_encrypted(url: str) -> None:
    channel = delivering.add_channel("ops", url)
    assert url[-8:] not in channel.sealed_url
    assert addresses.unseal(channel.sealed_url) == url


def test_an_address_is_checked_again_when_it_is_used(
    channel: Channel, receiver: Receiver, time: SteppedClock, settings: Any
) -> None:
    delivery = due(channel)[0]
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    assert delivering.deliver(channel.pk) == 0
    delivery.refresh_from_db()
    assert "private network" in delivery.last_error
    assert receiver.messages == []


@pytest.mark.fault(65)
def test_no_connection_is_made_to_a_name_that_becomes_private_after_the_check(
    receiver: Receiver, time: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_first(_host: str, port: Any, *_: Any, **__: Any) -> Any:
        """The answer that all checks before the connection get: a public address."""
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port or 0))]

    monkeypatch.setattr(egress, "_look_up", at_first)
    url = receiver.url.replace("127.0.0.1", "localhost")  # where the connection leads
    channel = delivering.add_channel("ops", url)
    delivery = due(channel)[0]
    assert delivering.deliver(channel.pk) == 0
    assert receiver.messages == []
    delivery.refresh_from_db()
    assert delivery.state == "pending"


def test_an_address_that_is_no_longer_allowed_is_not_used(
    channel: Channel, time: SteppedClock
) -> None:
    delivery = due(channel)[0]
    Channel.objects.filter(pk=channel.pk).update(sealed_url=sealing.seal("syslog://"))
    assert delivering.deliver(channel.pk) == 0
    delivery.refresh_from_db()
    assert "syslog:// is not allowed" in delivery.last_error


def test_an_address_that_was_stored_without_a_prefix_still_opens(
    channel: Channel, receiver: Receiver, time: SteppedClock
) -> None:
    before = channel.sealed_url.removeprefix(sealing.PREFIX)
    assert before != channel.sealed_url
    Channel.objects.filter(pk=channel.pk).update(sealed_url=before)
    due(channel)
    assert delivering.deliver(channel.pk) == 1
    assert len(receiver.messages) == 1


@pytest.mark.parametrize("stored", ["", "plain text", "json://a-host/", "v1:", "v2:x"])
def test_what_was_not_sealed_is_never_taken_for_an_address(stored: str) -> None:
    with pytest.raises(BadAddress, match="PODFLEET_FIELD_KEYS"):
        addresses.unseal(stored)


def test_an_address_of_a_lost_key_gives_an_error_that_says_what_to_do(
    channel: Channel, settings: Any
) -> None:
    settings.FIELD_KEYS = ("another", *settings.FIELD_KEYS)
    assert addresses.unseal(channel.sealed_url).startswith("json://")
    settings.FIELD_KEYS = ("another",)
    with pytest.raises(BadAddress, match="PODFLEET_FIELD_KEYS"):
        addresses.unseal(channel.sealed_url)


def alerts(*words: str) -> str:
    out = io.StringIO()
    call_command("alerts", *words, stdout=out)
    return out.getvalue()


def test_the_command_line_adds_tests_lists_snoozes_and_acknowledges(
    receiver: Receiver, time: SteppedClock, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = True
    monkeypatch.setenv("OPS_URL", receiver.url)
    assert json.loads(alerts("add", "ops", "env:OPS_URL", "--json"))["channel"] == "ops"
    assert json.loads(alerts("test", "ops", "--json")) == {"channel": "ops", "sent": True}
    assert receiver.messages[0]["title"] == "Podfleet: a test"
    due(Channel.objects.get(), 2)
    listed = json.loads(alerts("list", "--json"))
    assert {a["text"] for a in listed} == {"pod 0 is old", "pod 1 is old"}
    first, second = sorted(a["id"] for a in listed)
    assert json.loads(alerts("ack", str(first), "--json")) == {"acknowledged": 1}
    assert json.loads(alerts("snooze", str(second), "--hours", "8", "--json"))["snoozed"] == 1
    text = alerts("list")
    assert "acknowledged by" in text
    assert "snoozed until" in text
    assert json.loads(alerts("take-back", "--all", "--json")) == {"taken_back": 2}
    assert alerts("list").count(" open ") == 2
    assert "taken back: 0" in alerts("take-back", str(first))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ack"], "name the alerts by id, or give --all"),
        (["ack", "99"], "no open alert 99"),
        (["test", "nobody"], "no channel 'nobody'; known: none"),
        (["add", "ops", "env:NOT_SET_ANYWHERE"], "is empty"),
        (["snooze", "--all", "--hours", "-1"], "give hours above 0"),
    ],
)
def test_the_command_line_says_what_is_wrong(words: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        alerts(*words)
