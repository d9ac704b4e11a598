"""Fleets in the admin: their list, their page and its actions."""

from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.decorators import action

from fleet import operating
from fleet.admin.archiving import Archiving
from fleet.admin.dead_letters import DeadLettersPage
from fleet.admin.fleet_code import CodePage
from fleet.admin.fleet_dataset import DatasetPage
from fleet.admin.fleet_list import FleetList
from fleet.admin.fleet_preview import FleetPreview
from fleet.admin.fleet_secrets import SecretsPage
from fleet.admin.fleet_shadow import ShadowPage
from fleet.admin.fleet_status import StatusPage
from fleet.admin.fleet_what_if import WhatIfPage
from fleet.decision.values import Mode
from fleet.models import Fleet
from fleet.pages import words
from pods.base.commands import error_lines
from pods.models import Pod


@admin.register(Fleet)
class FleetAdmin(
    FleetList, StatusPage, DatasetPage, CodePage, SecretsPage, DeadLettersPage, WhatIfPage, ShadowPage,
    Archiving, FleetPreview,
):  # fmt: skip
    """Fleets with their guardrails."""

    nothing = (
        "No fleet yet. A fleet is one backlog of items, the pods that work on it, and what they may "
        "cost."
    )
    actions = (
        "pause", "resume", "stop_everything", "archive", "archive_when_empty", "restore", "erase",
    )  # fmt: skip

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse an archived fleet: it is brought back first."""
        may = super().has_change_permission(request, obj)
        return may and (obj is None or obj.archived_at is None)

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: the action `erase` deletes fleets, with the check of the command line."""
        return False

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
            messages.success(
                request, f"{words.spaced(mode.value)} from the next tick: {', '.join(done)}"
            )
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
