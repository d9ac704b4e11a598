"""The buttons of alerts: acknowledge, snooze and take back, in their list and on the page of one."""

from datetime import timedelta
from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from fleet.alerts import answering
from fleet.models import Alert
from pods.base.clock import utcnow
from pods.base.words import duration

HOURS: Final = (1, 8, 24)
PERMISSION: Final = "fleet.acknowledge_alert"


@require_POST
@permission_required(PERMISSION, raise_exception=True)
def answer(request: HttpRequest, alert_id: int, hours: int = 0) -> HttpResponse:
    """Silence an alert until its cause ends; with `hours` for that time. `?back=alert`: to its page."""
    alert, by = get_object_or_404(Alert, pk=alert_id), request.user.get_username()
    if hours not in {0, *HOURS}:
        raise Http404(f"give hours as one of {', '.join(map(str, HOURS))}")
    if hours:
        lasting = timedelta(hours=hours)
        done = answering.snooze([alert], until=utcnow() + lasting, by=by)
        said = f"Snoozed for {duration(lasting)}"
    else:
        done, said = answering.acknowledge([alert], by=by), "Acknowledged"
    if done:
        messages.success(request, f"{said}: {alert.text}")
    else:
        messages.warning(request, f"Already answered or ended: {alert.text}")
    return _back(request, alert)


@require_POST
@permission_required(PERMISSION, raise_exception=True)
def take_back(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Undo what silenced an alert: it needs somebody again. `?back=alert`: to its page."""
    alert = get_object_or_404(Alert, pk=alert_id)
    if answering.take_back([alert], by=request.user.get_username()):
        messages.success(request, f"Taken back, so it needs somebody again: {alert.text}")
    else:
        messages.warning(request, f"Not silent, or ended: {alert.text}")
    return _back(request, alert)


def _back(request: HttpRequest, alert: Alert) -> HttpResponse:
    if request.GET.get("back") == "alert":
        return redirect("admin:fleet_alert_change", alert.pk)
    return redirect("admin:fleet_alert_changelist")
