"""Fleets in the admin: their list, their page and its actions."""

from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.decorators import action, display

from fleet import operating
from fleet.admin.archiving import ArchivedFilter, Archiving
from fleet.admin.dead_letters import DeadLettersPage
from fleet.admin.fleet_form import FleetFormPage
from fleet.decision.values import Mode
from fleet.models import Fleet, Tick
from pods.base.commands import error_lines
from pods.models import Pod
from pods.states import ENDED

MODE_LABELS = {"running": "success", "paused": "warning", "stop_all": "danger"}


def _verbs(fleet: Fleet, *, may_erase: bool) -> list[tuple[str, str]]:
    """The actions that are possible for a fleet, with the words of their buttons."""
    if fleet.archived_at is not None:
        return [("restore", "Restore"), *([("erase", "Delete…")] if may_erase else [])]
    running = fleet.mode == Mode.RUNNING.value
    later = fleet.archive_when_empty
    return [
        ("pause", "Pause") if running else ("resume", "Resume"),
        ("restore", "Do not archive") if later else ("archive_when_empty", "Archive when empty"),
        ("stop_everything", "Stop…"),
    ]


@admin.register(Fleet)
class FleetAdmin(DeadLettersPage, Archiving, FleetFormPage):
    """Fleets with their guardrails."""

    list_display = (
        "name",
        "shown_mode",
        "max_instances",
        "pods_now",
        "max_hourly_usd",
        "daily_budget_usd",
        "last_decision",
    )
    list_filter = (ArchivedFilter, "mode")
    search_fields = ("name", "stream")
    actions = (
        "pause", "resume", "stop_everything", "archive", "archive_when_empty", "restore", "erase",
    )  # fmt: skip
    change_form_outer_before_template = "admin/fleet/fleet/verbs.html"

    @display(description="mode", label=MODE_LABELS)
    def shown_mode(self, fleet: Fleet) -> str:
        """The mode as a badge."""
        return fleet.mode if fleet.archived_at is None else "archived"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse an archived fleet: it is brought back first."""
        may = super().has_change_permission(request, obj)
        return may and (obj is None or obj.archived_at is None)

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: the action `erase` deletes fleets, with the check of the command line."""
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The fleet's page, with the actions that are possible."""
        fleet = self.get_object(request, object_id)
        shown = {} if fleet is None else {
            "fleet": fleet,
            "may_change": request.user.has_perm("fleet.change_fleet"),
            "verbs": _verbs(fleet, may_erase=self.has_erase_permission(request)),
        }  # fmt: skip
        context = {**(extra_context or {}), **shown}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def get_queryset(self, request: HttpRequest) -> QuerySet[Fleet]:
        """The fleets with their number of pods and last decision, in one query."""
        newest = Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at").values("sentence")[:1]
        billing = Count("pods", filter=~Q(pods__state__in=[s.value for s in ENDED]))
        fleets: QuerySet[Fleet] = super().get_queryset(request)
        return fleets.annotate(billing=billing, sentence=Subquery(newest))

    @display(description="pods", ordering="billing")
    def pods_now(self, fleet: Any) -> int:
        """The number of pods that may bill."""
        return int(fleet.billing)

    @display(description="last decision")
    def last_decision(self, fleet: Any) -> str:
        """The last decision in one sentence."""
        return fleet.sentence or "no decision yet"

    def _set_mode(self, request: HttpRequest, fleets: QuerySet[Fleet], mode: Mode) -> None:
        done, refused = [], []
        for fleet in fleets:
            try:
                operating.set_mode(fleet, mode, by=request.user.get_username())
                done.append(fleet.name)
            except operating.EditedMeanwhile as exc:
                refused.append(f"{fleet.name}: {exc}")
            except ValidationError as exc:
                refused.append(f"{fleet.name}: {'; '.join(error_lines(exc, Fleet))}")
        if done:
            messages.success(request, f"{mode.value} from the next tick: {', '.join(done)}")
        for why in refused:
            messages.error(request, why)

    @action(description="Pause: start no new pods", permissions=["change"])
    def pause(self, request: HttpRequest, fleets: QuerySet[Fleet]) -> None:
        """Start no new pods; running pods keep working."""
        self._set_mode(request, fleets, Mode.PAUSED)

    @action(description="Resume: end a pause or a stop", permissions=["change"])
    def resume(self, request: HttpRequest, fleets: QuerySet[Fleet]) -> None:
        """Run again after a pause or a stop."""
        self._set_mode(request, fleets, Mode.RUNNING)

    @action(description="Stop: drain and destroy every pod", permissions=["change"])
    def stop_everything(
        self, request: HttpRequest, fleets: QuerySet[Fleet]
    ) -> TemplateResponse | None:
        """Show the pods that will be destroyed; after the confirmation, drain and destroy them."""
        if request.POST.get("confirmed"):
            self._set_mode(request, fleets, Mode.STOP_ALL)
            return None
        pods = list(
            Pod.objects.billable()
            .filter(fleet__in=fleets)
            .select_related("fleet")
            .order_by("fleet__name", "-hourly_usd", "name")
        )
        context = {
            **self.admin_site.each_context(request),
            "title": "Stop these fleets",
            "opts": self.opts,
            "fleets": fleets,
            "pods": pods,
            "hourly_usd": sum((pod.hourly_usd for pod in pods), Decimal(0)),
        }
        return TemplateResponse(request, "admin/fleet/fleet/confirm_stop_all.html", context)
