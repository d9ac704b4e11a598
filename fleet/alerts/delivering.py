"""Delivers alerts to channels at least once; twice only if it is unknown whether a try succeeded."""

import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.db.models import F, Q, QuerySet

from fleet.alerts import addresses, notifying, sender
from fleet.alerts.addresses import BadAddress
from fleet.decision.alert_facts import Severity
from fleet.models import Channel, Delivery
from pods.base import sealing
from pods.base.clock import utcnow
from pods.base.command_name import how_to_run
from pods.base.pauses import doubled

log = structlog.get_logger(__name__)
DELIVER: Final = "notify.deliver"
# More deliveries than this at once are joined into one message.
DIGEST_ABOVE: Final = 3
DIGEST_LINES: Final = 20
AT_ONCE: Final = 500
TRIES: Final = 8
FIRST_PAUSE: Final = timedelta(seconds=15)
LONGEST_PAUSE: Final = timedelta(hours=1)
# A message takes a second or two. Well below the time limit of the task.
LONGEST_SEND: Final = timedelta(seconds=40)
ROOT: Final = Path(__file__).parents[2]


class Undelivered(Exception):
    """The channel did not accept the message."""


def add_channel(name: str, url: str, *, min_severity: Severity = Severity.WARNING) -> Channel:
    """Add a channel, or give the channel of that name another address.

    Raises:
        BadAddress: the address is not allowed, or the notifier does not understand it.
        ValidationError: another value is wrong.
    """
    channel = Channel.objects.filter(name=name).first() or Channel(name=name)
    channel.min_severity = min_severity.value
    check_address(url)
    write_channel(channel, url)
    return channel


def write_channel(channel: Channel, url: str) -> None:
    """Write a channel, new or not, with an address that was checked; "": the address stays.

    Raises:
        ValidationError: a value is wrong.
    """
    if url:
        channel.sealed_url = sealing.seal(url)
    channel.full_clean()
    channel.save()


def check_address(url: str) -> None:
    """Refuse an address that is not allowed, or that the notifier does not understand.

    Raises:
        BadAddress: the message says what is wrong.
    """
    addresses.check(url)
    _notifier(url)


def deliver(channel_id: int) -> int:
    """Send the deliveries that are due on a channel; return how many announcements went out.

    Each delivery is claimed before it is sent, so two workers never send the same one. If a worker
    dies in between, nobody can know whether its message went out. It is sent again when the claim
    ends, and the message says that it may be a repetition.
    """
    channel = Channel.objects.get(pk=channel_id)
    mine, unsure = _claim(channel)
    groups = [mine] if len(mine) > DIGEST_ABOVE else [[d] for d in mine]
    sent = 0
    for group in groups:
        try:
            title, body = _message(group, unsure)
            _send(channel, title, body, severity=_worst(group))
        except (Undelivered, BadAddress) as exc:
            _postpone(group, str(exc))
        else:
            sent += _record(group)
    return sent


def try_channel(channel: Channel) -> None:
    """Send a message that tests the channel.

    Raises:
        Undelivered, BadAddress: the message was not sent.
    """
    _send(
        channel,
        "Podfleet: a test",
        f"The channel {channel.name} works. Nothing is wrong.",
        severity=Severity.INFO,
    )


def _claim(channel: Channel) -> tuple[Sequence[Delivery], frozenset[int]]:
    """Claim deliveries that are due; return them, and those whose former claim ended unfinished."""
    now = utcnow()
    due = Delivery.objects.filter(
        Q(state=Delivery.State.PENDING) | Q(state=Delivery.State.SENDING),
        channel=channel,
        due_at__lte=now,
    )
    due.filter(attempts__gte=TRIES).update(
        state=Delivery.State.FAILED, last_error="given up: the outcome of the last try is not known"
    )
    states = dict(due.order_by("pk").values_list("pk", "state")[:AT_ONCE])
    claim = uuid.uuid4().hex
    due.filter(pk__in=list(states)).update(
        state=Delivery.State.SENDING,
        claim=claim,
        due_at=now + settings.CLAIM_LEASE,
        attempts=F("attempts") + 1,
    )
    mine = list(
        Delivery.objects.filter(channel=channel, claim=claim).select_related("alert").order_by("pk")
    )
    return mine, frozenset(pk for pk, state in states.items() if state == Delivery.State.SENDING)


def _message(group: Sequence[Delivery], unsure: frozenset[int]) -> tuple[str, str]:
    """Title and body; `#7.2` is the second announcement of alert 7, also if it is repeated."""
    lines = [
        f"{d.alert.severity}: {d.alert.text} "
        f"(#{d.alert_id}.{d.announcement}, since {d.alert.first_seen_at:%F %H:%M} UTC"
        + (f", ended at {d.alert.resolved_at:%H:%M}" if d.alert.resolved_at else "")
        + (", perhaps a repetition)" if d.pk in unsure else ")")
        for d in group[:DIGEST_LINES]
    ]
    if len(group) > DIGEST_LINES:
        lines.append(f"and {len(group) - DIGEST_LINES:,} more; see `{how_to_run('alerts list')}`")
    if len(group) == 1:
        return f"Podfleet: {group[0].alert.get_cause_display()}", lines[0]
    return f"Podfleet: {len(group):,} alerts", "\n".join(lines)


def _worst(group: Sequence[Delivery]) -> Severity:
    return max((Severity(d.alert.severity) for d in group), key=lambda severity: severity.rank)


def _send(channel: Channel, title: str, body: str, *, severity: Severity) -> None:
    url = addresses.unseal(channel.sealed_url)
    addresses.check(url)  # again: the name may resolve to another host by now
    _notifier(url)
    asked = {
        "url": url,
        "title": title,
        "body": body,
        "severity": severity.value,
        "private_too": settings.ALLOW_PRIVATE_WEBHOOKS,
    }
    try:
        sent = subprocess.run(
            [sys.executable, "-m", sender.__name__],
            input=json.dumps(asked),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SEND.total_seconds(),
        )
    except subprocess.TimeoutExpired as exc:
        raise Undelivered(f"the channel {channel.name} did not answer in time") from exc
    if sent.returncode:
        if sent.returncode != sender.REFUSED:
            # Not what it printed: the words of a library may hold the address and its token.
            log.error("sender_broke", channel=channel.pk, status=sent.returncode)
        raise Undelivered(f"the channel {channel.name} did not accept the message")


def _notifier(url: str) -> Any:
    service = notifying.notifier(url)
    if service is None:
        raise BadAddress("the address is not complete for its scheme")
    # Check the hosts as the notifier reads them: it may read the address in another way than we do.
    if addresses.names_host(url) and getattr(service, "mode", None) != "cloud":
        for name in filter(None, (getattr(service, key, None) for key in ("host", "smtp_host"))):
            addresses.check_host(name)
    return service


def _record(group: Sequence[Delivery]) -> int:
    now = utcnow()
    log.info("alerts_delivered", channel=group[0].channel_id, deliveries=[d.pk for d in group])
    return _ours(group).update(
        state=Delivery.State.SENT, sent_at=now, claim="", last_error="", due_at=now
    )


def pause(attempts: int) -> timedelta:
    """How long to wait after this many tries."""
    return doubled(FIRST_PAUSE, attempts - 1, longest=LONGEST_PAUSE)


def _postpone(group: Sequence[Delivery], because: str) -> None:
    """Make the deliveries due later, after a longer pause each time; then `fleet.alert` sends them."""
    log.warning("alerts_undelivered", channel=group[0].channel_id, because=because)
    ours = _ours(group)
    ours.filter(attempts__gte=TRIES).update(
        state=Delivery.State.FAILED, last_error=because[:300], claim=""
    )
    _ours(group).update(
        state=Delivery.State.PENDING,
        last_error=because[:300],
        claim="",
        due_at=utcnow() + pause(group[0].attempts),
    )


def _ours(group: Sequence[Delivery]) -> QuerySet[Delivery]:
    """The deliveries of the group whose claim is still ours."""
    return Delivery.objects.filter(
        pk__in=[d.pk for d in group], claim=group[0].claim, state=Delivery.State.SENDING
    )
