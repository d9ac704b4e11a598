"""Pods and accounts in the admin: shows rows, calls verbs."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from pods import surveying, teardown
from pods.clock import utcnow
from pods.lifecycle import Overtaken
from pods.models import Account, Orphan, Pod, PodEvent
from pods.states import ENDED

STATE_LABELS = {
    "requested": "info",
    "creating": "info",
    "booting": "warning",
    "ready": "success",
    "draining": "warning",
    "stopping": "warning",
    "stopped": "info",
    "resuming": "warning",
    "terminating": "danger",
    "failed": "danger",
    "lost": "danger",
}


class ReadOnly(ModelAdmin):  # type: ignore[misc]
    """State and history are shown, never edited."""

    actions_on_bottom = False

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Rows are made by verbs."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Rows are changed by verbs."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """History stays."""
        return False


class EventInline(TabularInline):  # type: ignore[misc]
    """What happened to the pod."""

    model = PodEvent
    fields = ("at", "by", "before", "after", "because")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Events are inserted by the lifecycle."""
        return False


@admin.register(Pod)
class PodAdmin(ReadOnly):
    """Pods with what an operator asks of them first."""

    list_display = (
        "short_name",
        "fleet",
        "shown_state",
        "shown_age",
        "hourly_usd",
        "gpu_type",
        "done",
        "shown_rate",
        "beat_at",
        "because",
    )
    list_filter = ("state", "fleet", "account", "gpu_type")
    search_fields = ("name", "external_id", "because", "host")
    ordering = ("-requested_at",)
    list_select_related = ("fleet",)
    show_full_result_count = False
    inlines: ClassVar = [EventInline]
    actions = ("drain", "destroy")

    @display(description="pod", ordering="name")
    def short_name(self, pod: Pod) -> str:
        """The part of the name that tells pods apart."""
        return pod.name.rpartition("-")[2][:12]

    @display(description="state", ordering="state", label=STATE_LABELS)
    def shown_state(self, pod: Pod) -> str:
        """The state as a badge."""
        return pod.state

    @display(description="age", ordering="requested_at")
    def shown_age(self, pod: Pod) -> str:
        """How long it has been, or was."""
        return str(pod.age(utcnow())).partition(".")[0]

    @display(description="items/s", ordering="rate")
    def shown_rate(self, pod: Pod) -> str:
        """The rate that its agent last said."""
        return f"{pod.rate:.1f}" if pod.rate else "-"

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Who may act on pods."""
        return request.user.has_perm("pods.change_pod")

    @action(description="Drain: finish what is in hand, then destroy", permissions=["operate"])
    def drain(self, request: HttpRequest, pods: QuerySet[Pod]) -> TemplateResponse | None:
        """Retire the pods, once that is confirmed."""
        return self._end(request, pods, verb="drain")

    @action(description="Destroy now: items in hand go to other pods", permissions=["operate"])
    def destroy(self, request: HttpRequest, pods: QuerySet[Pod]) -> TemplateResponse | None:
        """Destroy the pods without a drain, once that is confirmed."""
        return self._end(request, pods, verb="destroy")

    def _end(
        self, request: HttpRequest, pods: QuerySet[Pod], *, verb: str
    ) -> TemplateResponse | None:
        if request.POST.get("confirmed"):
            self._retire(request, pods, drain=verb == "drain")
            return None
        ended = [s.value for s in ENDED]
        named = list(pods.exclude(state__in=ended).select_related("fleet").order_by("name"))
        context = {
            **self.admin_site.each_context(request),
            "title": verb.capitalize(),
            "opts": self.opts,
            "pods": named,
            "verb": verb,
            "hourly_usd": sum((pod.hourly_usd for pod in named), Decimal(0)),
        }
        return TemplateResponse(request, "admin/pods/pod/confirm_end.html", context)

    def _retire(self, request: HttpRequest, pods: QuerySet[Pod], *, drain: bool) -> None:
        by = f"admin:{request.user.get_username()}"[:60]
        because = "drained by an operator" if drain else "destroyed by an operator"
        begun: list[str] = []
        not_begun: list[str] = []
        for pod in pods:
            try:
                done = teardown.retire_pod(pod, by=by, because=because, drain=drain)
            except Overtaken:
                done = False
            (begun if done else not_begun).append(self.short_name(pod))
        if begun:
            messages.success(request, f"{because}: {', '.join(begun)}")
        if not_begun:
            messages.warning(request, f"already on their way out, or ended: {', '.join(not_begun)}")


@admin.register(Account)
class AccountAdmin(ModelAdmin):  # type: ignore[misc]
    """Accounts, with how they are."""

    list_display = ("name", "provider", "enabled", "shown_health", "surveyed_at", "swept_at")
    list_filter = ("provider", "enabled")
    readonly_fields = (
        "failures",
        "open_until",
        "last_error",
        "surveyed_at",
        "swept_at",
        "offers_known",
    )
    actions = ("survey",)

    @display(description="health", label={"well": "success", "left alone": "danger"})
    def shown_health(self, account: Account) -> str:
        """Whether its circuit breaker is open."""
        is_open = account.open_until is not None and account.open_until > utcnow()
        return "left alone" if is_open else "well"

    @display(description="offers known")
    def offers_known(self, account: Account) -> int:
        """How many offers the last survey found."""
        return len(account.offers)

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        """Save, then ask the account what it offers: a wrong key shows at once."""
        super().save_model(request, obj, form, change)
        self._survey(request, [obj])

    @action(description="Ask what can be rented", permissions=["change"])
    def survey(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Survey the accounts now."""
        self._survey(request, list(accounts))

    def _survey(self, request: HttpRequest, accounts: Sequence[Account]) -> None:
        for account in accounts:
            count = surveying.survey_account(account)
            account.refresh_from_db(fields=["last_error"])
            if account.last_error:
                messages.error(request, f"{account}: {account.last_error}")
            else:
                messages.success(request, f"{account}: {count} offers")


@admin.register(Orphan)
class OrphanAdmin(ReadOnly):
    """Machines of ours without a row."""

    list_display = ("name", "external_id", "account", "first_seen_at", "last_seen_at", "outcome")
    list_filter = ("account",)


@admin.register(PodEvent)
class PodEventAdmin(ReadOnly):
    """The history of all pods."""

    list_display = ("at", "pod", "before", "after", "by", "because")
    list_filter = ("after", "by")
    search_fields = ("because", "pod__name")
    ordering = ("-pk",)
    list_select_related = ("pod",)
    show_full_result_count = False
