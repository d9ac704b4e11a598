"""Alerts: the list, and what people answer to them."""

from collections.abc import Callable
from typing import Any, Final, Literal

from django.http import HttpRequest
from ninja import Path, Query, Router
from pydantic import BaseModel, Field

from fleet.alerts import answering
from fleet.api import paging
from fleet.api.auth import by, needs
from fleet.api.named import of_fleet
from fleet.api.paging import Asked, Page
from fleet.api.problems import Problem
from fleet.api.values import Given, Id, Moment, MomentIn
from fleet.models import Alert
from pods.base.clock import utcnow

router: Final = Router(tags=["alerts"])
MOST_AT_ONCE: Final = 1000


class AlertOut(BaseModel):
    """An alert, from the start of its cause to the end."""

    id: int
    fleet: str | None
    cause: str
    subject: str
    severity: str
    text: str
    first_seen_at: Moment
    last_seen_at: Moment
    acknowledged_at: Moment | None
    acknowledged_by: str
    snoozed_until: Moment | None
    snoozed_by: str
    resolved_at: Moment | None = Field(description="When its cause ended; null: it lasts.")


class AlertPage(Page):
    """Alerts, the newest first."""

    items: list[AlertOut]


class WhichAlerts(Asked):
    """Which alerts."""

    fleet: str = Field("", max_length=40, description="Of this fleet.")
    state: Literal["open", "loud", "ended", "all"] = Field(
        "open", description="open: the cause lasts; loud: and nobody has answered."
    )


class Snooze(Given):
    """For how long to be silent."""

    until: MomentIn


def _of(alert: Alert) -> AlertOut:
    own = {name: getattr(alert, name) for name in AlertOut.model_fields if name != "fleet"}
    return AlertOut(**own, fleet=alert.fleet.name if alert.fleet else None)


@router.get("/alerts", response=AlertPage, **needs("fleet.view_alert"))
def list_alerts(request: HttpRequest, asked: Query[WhichAlerts]) -> AlertPage:
    """List alerts."""
    rows = {
        "open": Alert.objects.open,
        "loud": lambda: Alert.objects.loud(utcnow()),
        "ended": lambda: Alert.objects.exclude(resolved_at=None),
        "all": Alert.objects.all,
    }[asked.state]()
    rows = rows.filter(of_fleet(asked.fleet)).select_related("fleet")
    found, more = paging.by_id(rows, asked)
    return AlertPage(items=[_of(alert) for alert in found], next=more)


def _answered(alert_id: int, act: Callable[[list[Alert]], Any]) -> AlertOut:
    rows = Alert.objects.select_related("fleet").filter(pk=alert_id)
    if not rows.exists():
        raise Problem(404, "no alert has this id; GET /api/v1/alerts lists them")
    if not rows.filter(resolved_at=None).exists():
        raise Problem(409, "its cause has ended, so there is nothing to answer")
    act(list(rows))
    return _of(rows.get())


@router.post(
    "/alerts/{alert_id}/acknowledge", response=AlertOut, **needs("fleet.acknowledge_alert")
)
def acknowledge_alert(request: HttpRequest, alert_id: Path[Id]) -> AlertOut:
    """Silence an alert until its cause ends."""
    return _answered(alert_id, lambda found: answering.acknowledge(found, by=by(request)))


@router.post("/alerts/{alert_id}/snooze", response=AlertOut, **needs("fleet.acknowledge_alert"))
def snooze_alert(request: HttpRequest, wanted: Snooze, alert_id: Path[Id]) -> AlertOut:
    """Silence an alert until a moment; then it is announced again if its cause lasts."""

    def snooze(found: list[Alert]) -> None:
        try:
            answering.snooze(found, until=wanted.until, by=by(request))
        except ValueError as exc:
            raise Problem(422, f"until: {exc}", errors={"until": [str(exc)]}) from exc

    return _answered(alert_id, snooze)


@router.post("/alerts/{alert_id}/take-back", response=AlertOut, **needs("fleet.acknowledge_alert"))
def take_back_answer(request: HttpRequest, alert_id: Path[Id]) -> AlertOut:
    """Undo an acknowledge or a snooze: the alert needs somebody again."""
    return _answered(alert_id, lambda found: answering.take_back(found, by=by(request)))
