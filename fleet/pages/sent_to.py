"""To whom an alert was sent, and when; if to nobody, why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleet.decision.alert_facts import Severity
from fleet.models import Alert, Channel, Delivery

MOST: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SentTo:
    """How far the newest announcement of an alert is on one channel."""

    channel: str
    icon: str
    tone: str
    word: str
    at: datetime | None = None  # when it was sent, or is tried again
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The channels of an alert."""

    channels: Sequence[SentTo]
    nobody: str = ""  # why nobody is told, as the end of "nobody: …"
    no_channel: bool = False


def told(alert: Alert) -> Told:
    """To whom the alert was sent. At most two queries."""
    rows = alert.deliveries.select_related("channel").order_by("channel__name", "-announcement")
    newest: dict[int, Delivery] = {}
    for row in rows[: MOST * 10]:
        newest.setdefault(row.channel_id, row)
    if newest:
        return Told(channels=[_sent(row) for row in list(newest.values())[:MOST]])
    channels = list(Channel.objects.all())
    if not channels:
        return Told(channels=(), no_channel=True)
    rank = Severity(alert.severity).rank
    if any(c.enabled and Severity(c.min_severity).rank <= rank for c in channels):
        why = "it was answered before it was sent" if alert.announcements else "not yet sent"
        return Told(channels=(), nobody=why)
    return Told(channels=(), nobody=f"no channel that is on receives {alert.severity} alerts")


def _sent(row: Delivery) -> SentTo:
    name, state = row.channel.name, row.state
    if state == Delivery.State.SENT:
        return SentTo(channel=name, icon="✓", tone="grey", word="sent", at=row.sent_at)
    if state == Delivery.State.FAILED:
        return SentTo(
            channel=name, icon="✖", tone="red", word="not sent, given up", error=row.last_error
        )
    return SentTo(
        channel=name, icon="◐", tone="blue", word="being sent", at=row.due_at, error=row.last_error
    )
