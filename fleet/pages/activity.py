"""What happened, in lines that people read: `starting → failed`, and who did it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import F, Q, Window
from django.db.models.functions import Lag
from django.urls import reverse
from django.utils.timezone import localtime

from fleet.models import Alert, AlertAnswer, Fleet, Limits
from pods.models import PodEvent
from pods.outcomes import FAILED_RULES
from pods.rules import LOST_RULES, PodRule
from pods.states import PodState

EDITS_SHOWN: Final = 25
BY_ADMIN: Final = "admin:"  # the prefix of an operator's name in an event
STATES: Final[Mapping[str, str]] = {
    PodState.REQUESTED.value: "requested",
    PodState.CREATING.value: "being rented",
    PodState.BOOTING.value: "starting",
    PodState.READY.value: "working",
    PodState.DRAINING.value: "draining",
    PodState.STOPPING.value: "stopping",
    PodState.STOPPED.value: "stopped",
    PodState.RESUMING.value: "restarting",
    PodState.TERMINATING.value: "ending",
    PodState.TERMINATED.value: "ended",
    PodState.FAILED.value: "failed",
    PodState.LOST.value: "lost",
}
# The parts of the manager, as events name them.
ACTORS: Final[Mapping[str, str]] = {
    "tick": "the fleet's tick",
    "spawn": "renting",
    "health": "the health check",
    "teardown": "ending",
    "reconcile": "the check of the vendor's machines",
    "resume": "restarting",
    "adopt": "an operator (fleet adopt)",
}
# The answers to an alert, as a line says them: `acknowledged by ann`.
ANSWERS: Final[Mapping[str, str]] = {
    AlertAnswer.What.ACKNOWLEDGED.value: "acknowledged",
    AlertAnswer.What.SNOOZED.value: "snoozed",
    AlertAnswer.What.TAKEN_BACK.value: "taken back",
}
ENDING: Final = frozenset({PodState.TERMINATING.value, PodState.FAILED.value, PodState.LOST.value})
BY_PEOPLE: Final = Q(by__startswith=BY_ADMIN) | Q(by="adopt") | Q(rule=PodRule.OPERATOR.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An edit of a fleet or of the limits, or an answer to an alert."""

    at: datetime
    name: str
    said: str  # what was set, and by whom
    mode: str  # the mode that it changed to; "": it changed something else
    url: str


def moved(event: PodEvent) -> str:
    """The move of an event: `starting → failed`, `requested`; "" for a note."""
    if not event.after:
        return ""
    after = STATES.get(event.after, event.after)
    if event.after in ENDING and event.rule in {rule.value for rule in FAILED_RULES}:
        after = "failed"
    elif event.after in ENDING and event.rule in {rule.value for rule in LOST_RULES}:
        after = "lost"
    return f"{STATES.get(event.before, event.before)} → {after}" if event.before else after


def actor(by: str) -> str:
    """Who did it: an operator by name, or the part of the manager."""
    return by.removeprefix(BY_ADMIN) if by.startswith(BY_ADMIN) else ACTORS.get(by, by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody answered to an alert, in words."""

    said: str  # `snoozed until 16:00`
    by: str
    at: datetime


def answers_to(alert: Alert) -> Sequence[Answer]:
    """All answers to an alert, the newest first."""
    return [Answer(said=_said(a).capitalize(), by=a.by, at=a.at) for a in alert.answers.all()]


def _said(answer: AlertAnswer) -> str:
    said = ANSWERS.get(answer.what, answer.what)
    if answer.until is None:
        return said
    until = localtime(answer.until)
    return f"{said} until {until.day} {until:%b %H:%M}"


def edits() -> Sequence[Edit]:
    """The newest edits of fleets and limits, and answers to alerts. Three queries."""
    answered = AlertAnswer.objects.select_related("alert")[:EDITS_SHOWN]
    found = [
        *(_answered(answer) for answer in answered),
        *(_edit(row, row.name, "admin:fleet_fleet_simple_history") for row in _versions(Fleet)),
        *(_edit(row, "Limits", "admin:fleet_limits_simple_history") for row in _versions(Limits)),
    ]
    return sorted(found, key=lambda edit: edit.at, reverse=True)[:EDITS_SHOWN]


def _answered(answer: AlertAnswer) -> Edit:
    return Edit(
        at=answer.at,
        name=answer.alert.text,
        said=f"{_said(answer)} by {answer.by}",
        mode="",
        url=reverse("admin:fleet_alert_change", args=[answer.alert_id]),
    )


def _versions(model: Any) -> Any:
    """The newest versions of rows, each with the mode of the version before it."""
    before = Window(Lag("mode"), partition_by=F("id"), order_by=F("history_id").asc())
    return model.history.annotate(former_mode=before).order_by("-history_id")[:EDITS_SHOWN]


def _edit(row: Any, name: str, page: str) -> Edit:
    changed = row.former_mode is not None and row.former_mode != row.mode
    return Edit(
        at=row.history_date,
        name=name,
        said=row.history_change_reason or "",
        mode=row.mode if changed else "",
        url=reverse(page, args=[row.id, row.history_id]),
    )
