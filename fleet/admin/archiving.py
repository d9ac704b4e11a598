"""Archiving, restoring and deleting fleets in the admin; the same verbs as on the command line."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.decorators import action

from fleet import archiving, operating
from fleet.models import Fleet
from pods.lifecycle import Overtaken


class ArchivedFilter(admin.SimpleListFilter):
    """The filter of the list of fleets; by default it shows the fleets that are not archived."""

    title = "archived"
    parameter_name = "archived"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """The choices besides the default."""
        return [("yes", "archived"), ("all", "all")]

    def choices(self, changelist: Any) -> Any:
        """The choices as the page shows them; the first one is the default, "in use"."""
        first, *others = super().choices(changelist)
        yield {**first, "display": "in use"}
        yield from others

    def queryset(self, _request: HttpRequest, fleets: QuerySet[Fleet]) -> QuerySet[Fleet]:
        """The fleets of the choice."""
        if self.value() == "all":
            return fleets
        return fleets.filter(archived_at__isnull=self.value() != "yes")


class Archiving:
    """The actions of the list of fleets that archive, bring back and delete."""

    def has_erase_permission(self, request: HttpRequest) -> bool:
        """Whether the user may delete archived fleets."""
        return request.user.has_perm("fleet.delete_fleet")

    @action(
        description="Archive: hide fleets without pods, keep their history", permissions=["change"]
    )
    def archive(self, request: HttpRequest, fleets: QuerySet[Fleet]) -> None:
        """Archive the fleets that have no pods, or give an archived fleet another name."""
        name = request.POST.get("new_name", "").strip()

        def done(fleet: Fleet, by: str) -> str:
            archiving.archive(fleet, name=name, by=by)
            return archiving.archived_text(fleet)

        _each(request, fleets, done)

    @action(
        description="Archive when empty: pause, archive after the last pod", permissions=["change"]
    )
    def archive_when_empty(self, request: HttpRequest, fleets: QuerySet[Fleet]) -> None:
        """Pause the fleets; each is archived when its last pod has ended."""

        def done(fleet: Fleet, by: str) -> str:
            if archiving.archive(fleet, when_empty=True, by=by):
                return archiving.archived_text(fleet)
            return "paused; it will be archived when its last pod has ended"

        _each(request, fleets, done)

    @action(description="Restore: bring archived fleets back, paused", permissions=["change"])
    def restore(self, request: HttpRequest, fleets: QuerySet[Fleet]) -> None:
        """Bring the fleets back, paused."""
        name = request.POST.get("new_name", "").strip()

        def done(fleet: Fleet, by: str) -> str:
            archiving.restore(fleet, name=name, by=by)
            return "back, and paused; Resume lets it run"

        _each(request, fleets, done)

    @action(description="Delete archived fleets whose pods cost nothing…", permissions=["erase"])
    def erase(self, request: HttpRequest, fleets: QuerySet[Fleet]) -> TemplateResponse | None:
        """Say what is deleted, or why it cannot be; after the confirmation, delete it."""
        if request.POST.get("confirmed"):
            _each(request, fleets, _erased)
            return None
        asked = [(fleet, archiving.why_kept(fleet)) for fleet in fleets.order_by("name")]
        site: admin.AdminSite = self.admin_site  # type: ignore[attr-defined]
        context = {
            **site.each_context(request),
            "title": "Delete fleets",
            "opts": Fleet._meta,
            "kept": [(fleet, why) for fleet, why in asked if why],
            "fleets": [fleet for fleet, why in asked if not why],
        }
        return TemplateResponse(request, "admin/fleet/fleet/confirm_delete.html", context)


def _erased(fleet: Fleet, by: str) -> str:
    left = archiving.left_in_redis(fleet)
    archiving.delete(fleet, by=by)
    return f"deleted; {left}"


def _each(request: HttpRequest, fleets: QuerySet[Fleet], verb: Callable[[Fleet, str], str]) -> None:
    """Call a verb for each fleet, and tell what it did or why it was refused."""
    by = request.user.get_username()
    for fleet in fleets.select_related("schedule"):
        name = fleet.name
        try:
            did = verb(fleet, by)
            messages.success(request, f"{archiving.called(fleet, name)}: {did}")
        except ValidationError as exc:
            messages.error(request, f"{name}: {'; '.join(exc.messages)}")
        except (operating.EditedMeanwhile, Overtaken) as exc:
            messages.error(request, f"{name}: {exc}")
