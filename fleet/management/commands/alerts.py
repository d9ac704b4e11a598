"""`manage.py alerts …`: reads and answers alerts, and manages their channels."""

import getpass
import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from functools import partial
from typing import IO, Any, Final, cast

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from rich.table import Table

from fleet.alerts import answering, delivering
from fleet.alerts.delivering import Undelivered
from fleet.decision.alert_facts import Severity
from fleet.models import Alert, Channel
from fleet.pages.words import SEVERITIES
from pods.accounts import connecting
from pods.base.clock import utcnow
from pods.base.commands import CommandConsole, OwnCommand, error_lines, verbs_of

LONGEST_SNOOZE_HOURS: Final = 24 * 366
LARGEST_ID: Final = 2**63 - 1  # of a database


def _alert_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST_ID):
        raise ArgumentTypeError(f"{text!r} is not the id of an alert; `alerts list` shows the ids")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= LONGEST_SNOOZE_HOURS:
        raise ArgumentTypeError(
            f"{text!r}: give hours above 0, at most {LONGEST_SNOOZE_HOURS} (a year)"
        )
    return hours


class Command(OwnCommand):
    """Read and answer alerts. Exit status: 0 done, 1 failed, 2 bad usage."""

    help = "Read and answer alerts; add and test the channels that they go to."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add a subcommand for each verb."""
        verb = partial(verbs_of(parser), named=False)
        verb("list", "List the open alerts.").add_argument(
            "--all", action="store_true", help="Ended alerts too."
        )
        for name, text in (
            ("ack", "Silence alerts until their cause ends."),
            ("snooze", "Silence alerts for a while."),
            ("take-back", "Undo an acknowledge or a snooze: the alerts need somebody again."),
        ):
            sub = verb(name, text)
            sub.add_argument("ids", metavar="ID", type=_alert_id, nargs="*")
            sub.add_argument("--all", action="store_true", help="All open alerts.")
            if name == "snooze":
                sub.add_argument("--hours", type=_hours, required=True)
        add = verb("add", "Add a channel, or give a channel another address.")
        add.add_argument("name", metavar="NAME")
        add.add_argument(
            "address", metavar="env:NAME|file:/path", help="Where the channel's address is."
        )
        add.add_argument("--min-severity", choices=[s.value for s in Severity], default="warning")
        verb("test", "Send a test message to a channel.").add_argument("name", metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verb."""
        try:
            getattr(self, f"_{options['verb'].replace('-', '_')}")(options)
        except ValidationError as exc:
            raise CommandError("; ".join(error_lines(exc, Channel))) from exc
        except (Undelivered, ValueError, connecting.BadSecret) as exc:
            raise CommandError(str(exc)) from exc

    def _say(self, options: dict[str, Any], text: str, **values: Any) -> None:
        self.stdout.write(json.dumps(values) if options["json"] else text)

    def _list(self, options: dict[str, Any]) -> None:
        rows = Alert.objects.all() if options["all"] else Alert.objects.open()
        found = list(rows.order_by("-first_seen_at"))
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(alert) for alert in found]))
            return
        table = Table(box=None)
        for column in ("id", "severity", "since (UTC)", "state", "alert"):
            table.add_column(column)
        for alert in found:
            since = f"{alert.first_seen_at:%F %H:%M}"
            shown = SEVERITIES[alert.severity]
            severity = f"{shown.icon} {shown.word}"
            table.add_row(str(alert.pk), severity, since, _state(alert), alert.text)
        CommandConsole(file=cast("IO[str]", self.stdout)).print(table if found else "no alerts")

    def _chosen(self, options: dict[str, Any]) -> list[Alert]:
        if bool(options["ids"]) == options["all"]:
            raise CommandError("name the alerts by id, or give --all", returncode=2)
        if options["all"]:
            return list(Alert.objects.open())
        chosen = list(Alert.objects.open().filter(pk__in=options["ids"]))
        missing = sorted(set(options["ids"]) - {alert.pk for alert in chosen})
        if missing:
            raise CommandError(f"no open alert {', '.join(map(str, missing))}")
        return chosen

    def _ack(self, options: dict[str, Any]) -> None:
        done = answering.acknowledge(self._chosen(options), by=getpass.getuser())
        self._say(options, f"acknowledged: {done}", acknowledged=done)

    def _snooze(self, options: dict[str, Any]) -> None:
        until = utcnow() + timedelta(hours=options["hours"])
        done = answering.snooze(self._chosen(options), until=until, by=getpass.getuser())
        text = f"snoozed until {until:%F %H:%M} UTC: {done}"
        self._say(options, text, snoozed=done, until=until.isoformat())

    def _take_back(self, options: dict[str, Any]) -> None:
        done = answering.take_back(self._chosen(options), by=getpass.getuser())
        self._say(options, f"taken back: {done}", taken_back=done)

    def _add(self, options: dict[str, Any]) -> None:
        address = connecting.read_secret(options["address"])
        if address is None:
            raise CommandError("say where the address is: env:NAME or file:/path", returncode=2)
        severity = Severity(options["min_severity"])
        channel = delivering.add_channel(options["name"], address, min_severity=severity)
        text = (
            f"{channel.name} receives alerts of severity {severity.value} or above; "
            f"test it: alerts test {channel.name}"
        )
        self._say(options, text, channel=channel.name, min_severity=severity.value)

    def _test(self, options: dict[str, Any]) -> None:
        try:
            channel = Channel.objects.get(name=options["name"])
        except Channel.DoesNotExist as exc:
            known = ", ".join(Channel.objects.values_list("name", flat=True)) or "none"
            raise CommandError(f"no channel {options['name']!r}; known: {known}") from exc
        delivering.try_channel(channel)
        self._say(options, f"{channel.name} accepted the message", channel=channel.name, sent=True)


def _state(alert: Alert) -> str:
    if alert.resolved_at is not None:
        return f"ended {alert.resolved_at:%F %H:%M}"
    if alert.acknowledged_at is not None:
        return f"acknowledged by {alert.acknowledged_by}"
    if alert.snoozed_until is not None and alert.snoozed_until > utcnow():
        return f"snoozed until {alert.snoozed_until:%F %H:%M}"
    return "open"


def _as_json(alert: Alert) -> dict[str, Any]:
    moments = ("first_seen_at", "last_seen_at", "acknowledged_at", "snoozed_until", "resolved_at")
    return {
        "id": alert.pk,
        "cause": alert.cause,
        "subject": alert.subject,
        "severity": alert.severity,
        "text": alert.text,
        "acknowledged_by": alert.acknowledged_by,
        **{
            name: None if getattr(alert, name) is None else getattr(alert, name).isoformat()
            for name in moments
        },
    }
