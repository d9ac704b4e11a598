"""The activity: what happened to pods and who did it; with the edits of people on request."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from fleet.pages import activity
from pods.admin.base import ReadOnly
from pods.models import PodEvent
from pods.states import PodState


class WhoFilter(admin.SimpleListFilter):
    """Who did it: everybody, people, or the manager."""

    title, parameter_name = "who", "who"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """The choices besides everybody."""
        return [("people", "By people"), ("manager", "By the manager")]

    def queryset(self, _request: HttpRequest, events: QuerySet[PodEvent]) -> QuerySet[PodEvent]:
        """The events of the choice."""
        if self.value() == "people":
            return events.filter(activity.BY_PEOPLE)
        return events.exclude(activity.BY_PEOPLE) if self.value() == "manager" else events


class StateFilter(admin.SimpleListFilter):
    """What became of the pods, in the words of the lines."""

    title, parameter_name = "became", "after"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """All states."""
        return [(state.value, activity.STATES[state.value]) for state in PodState]

    def queryset(self, _request: HttpRequest, events: QuerySet[PodEvent]) -> QuerySet[PodEvent]:
        """The events of the choice."""
        return events.filter(after=self.value()) if self.value() else events


@admin.register(PodEvent)
class PodEventAdmin(ReadOnly):
    """The history of all pods."""

    nothing = (
        "Nothing has happened to a pod yet. Each start and end comes here, with who did it and why."
    )
    list_display = ("when", "what", "who")
    list_display_links = None
    list_filter: ClassVar[Sequence[Any]] = (WhoFilter, StateFilter, "pod__fleet")
    list_before_template = "fleet/activity/edits.html"
    list_fullwidth = True
    list_per_page = 50
    search_fields = ("because", "pod__name", "pod__fleet__name")
    sortable_by = ()
    ordering = ("-pk",)
    list_select_related = ("pod__fleet",)
    show_full_result_count = False
    paginator = InfinitePaginator

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list; of people also with their edits."""
        context = {**(extra_context or {}), "by_people": request.GET.get("who") == "people"}
        if context["by_people"] and request.user.has_perm("fleet.view_fleet"):
            context["edits"] = activity.edits()
        answer: HttpResponse = super().changelist_view(request, context)
        return answer

    @display(description="When")
    def when(self, event: PodEvent) -> str:
        """When it happened."""
        return render_to_string("fleet/activity/when.html", {"event": event})

    @display(description="What")
    def what(self, event: PodEvent) -> str:
        """The fleet, the pod, its move and the reason, in one line."""
        return render_to_string(
            "fleet/activity/what.html", {"event": event, "moved": activity.moved(event)}
        )

    @display(description="Who")
    def who(self, event: PodEvent) -> str:
        """Who did it."""
        return activity.actor(event.by)
