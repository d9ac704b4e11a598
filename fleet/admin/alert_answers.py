"""The buttons of alerts: acknowledge and snooze, from their list and from the page of one."""

from datetime import timedelta
from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from fleet.alerts import reconciling
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
        done = reconciling.snooze([alert], until=utcnow() + lasting, by=by)
        said = f"Snoozed for {duration(lasting)}"
    else:
        done, said = reconciling.acknowledge([alert], by=by), "Acknowledged"
    if done:
        messages.success(request, f"{said}: {alert.text}")
    else:
        messages.warning(request, f"Already answered or ended: {alert.text}")
    if request.GET.get("back") == "alert":
        return redirect("admin:fleet_alert_change", alert.pk)
    return redirect("admin:fleet_alert_changelist")
