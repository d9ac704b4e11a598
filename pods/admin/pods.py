"""Pods in the admin, with the facts that an operator needs first."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.html import format_html
from unfold.decorators import action, display

from pods import teardown
from pods.accounts import machine_logs
from pods.accounts.connecting import CannotConnect
from pods.admin import use
from pods.admin.base import ReadOnly
from pods.base import words
from pods.base.clock import utcnow
from pods.costs import columns
from pods.lifecycle import Overtaken
from pods.machine_names import short_name
from pods.masking import without_passwords
from pods.models import Pod
from pods.providers.errors import ProviderError
from pods.rules import PodRule
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
OVER: Final = [s.value for s in ENDED]
EVENTS_SHOWN: Final = 100
TRIES: Final = 3  # a pod rarely moves more than once within a request


class Act(Protocol):
    """A verb on a pod; False where it had begun already."""

    def __call__(self, pod: Pod, *, by: str) -> bool:
        """Act as `by`."""
        ...


class LivingFilter(admin.SimpleListFilter):
    """Shows pods that may bill first; the others are history."""

    title = "billing"
    parameter_name = "billing"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """The choices in addition to the default."""
        return [("ended", "ended"), ("all", "all")]

    def choices(self, changelist: Any) -> Any:
        """All choices; the default is pods that may bill."""
        first, *others = super().choices(changelist)
        yield {**first, "display": "may bill"}
        yield from others

    def queryset(self, _request: HttpRequest, pods: QuerySet[Pod]) -> QuerySet[Pod]:
        """The pods of the choice."""
        if self.value() == "all":
            return pods
        return (
            pods.filter(state__in=OVER) if self.value() == "ended" else pods.exclude(state__in=OVER)
        )


def _act_as_it_is(pod: Pod, act: Callable[[Pod], bool]) -> bool:
    """Act on the pod as its row is now: an operator's wish holds for whatever state it is in.

    Raises:
        Overtaken: the row changed again at each of the tries.
    """
    for _ in range(TRIES - 1):
        try:
            return act(pod)
        except Overtaken:
            pod.refresh_from_db()
    return act(pod)


def _lasted(since: datetime | None) -> str:
    return words.duration(None if since is None else utcnow() - since)


@admin.register(Pod)
class PodAdmin(ReadOnly):
    """The list and the pages of pods."""

    list_display = (
        "short_name", "fleet", "shown_state", "shown_age", "shown_idle", "shown_price", "shown_cost",
        "shown_million", "shown_rate", "shown_gpu", "shown_beat", "console",
    )  # fmt: skip
    list_fullwidth = True
    # Without the address of Redis and the handler's environment, which may hold passwords.
    exported = (
        "id", "name", "fleet__name", "account__name", "provider", "external_id", "state",
        "requested_at", "ready_at", "ended_at", "gpu_type", "gpu_count", "region", "host",
        "interruptible", "hourly_usd", "cost_usd", "million_usd", "done", "failed", "dead", "rate",
        "because", "retire_because", "lost_because",
    )  # fmt: skip
    list_filter = (LivingFilter, "state", "fleet", "account", "gpu_type")
    search_fields = ("name", "external_id", "because", "host")
    ordering = ("-requested_at",)
    list_select_related = ("fleet", "account")
    list_per_page = 50
    show_full_result_count = False
    actions = ("drain", "stop", "destroy", "as_csv", "as_json")
    change_form_outer_before_template = "admin/pods/pod/summary.html"
    fieldsets = (
        (
            "Machine",
            {
                "fields": (
                    ("fleet", "account"),
                    ("external_id", "offer_key"),
                    ("gpu_type", "gpu_count"),
                    ("region", "host"),
                    ("hourly_usd", "stopped_hourly_usd"),
                    ("interruptible", "disk_gb"),
                    ("failed", "dead"),
                    "image",
                )
            },
        ),
        (
            "Times and internal facts",
            {
                "classes": ("collapse",),
                "fields": (
                    ("requested_at", "asked_at"),
                    ("booted_at", "ready_at"),
                    ("destroy_asked_at", "absent_since"),
                    ("failed_at", "ended_at"),
                    "due_at",
                    "retire_rule",
                    ("retire_because", "lost_because"),
                    ("note", "attempts"),
                    ("boot_seconds", "silent_seconds"),
                    ("drain_seconds", "stop_when_idle"),
                    "name",
                ),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pod]:
        """The pods with their costs."""
        return columns.with_cost(Pod.objects.select_related("fleet", "account"), utcnow())

    @display(description="pod", ordering="name")
    def short_name(self, pod: Pod) -> str:
        """The part of the name that tells pods apart."""
        return short_name(pod.name, 12)

    @display(description="state", ordering="state", label=STATE_LABELS)
    def shown_state(self, pod: Pod) -> str:
        """The state as a badge."""
        return pod.state

    @display(description="age", ordering="requested_at")
    def shown_age(self, pod: Pod) -> str:
        """How old it is, or how long it existed."""
        return words.duration(pod.age(utcnow()))

    @display(description="idle", ordering="idle_since")
    def shown_idle(self, pod: Pod) -> str:
        """For how long it has had nothing to do."""
        return _lasted(pod.idle_since) if pod.state == "ready" else words.NONE

    @display(description="$/h", ordering="hourly_usd")
    def shown_price(self, pod: Pod) -> str:
        """The price while it runs."""
        return words.usd(pod.hourly_usd)

    @display(description="cost $", ordering="cost_usd")
    def shown_cost(self, pod: Any) -> str:
        """The cost so far."""
        return words.usd(pod.cost_usd)

    @display(description="$ / million", ordering="million_usd")
    def shown_million(self, pod: Any) -> str:
        """The cost of a million items on it."""
        return words.unit_price(pod.million_usd)

    @display(description="items/s", ordering="rate")
    def shown_rate(self, pod: Pod) -> str:
        """The rate that its agent last reported."""
        return words.per_second(pod.rate or None)

    @display(description="GPU", ordering="gpu_type")
    def shown_gpu(self, pod: Pod) -> str:
        """The account and the GPU type."""
        gpu = pod.gpu_type.removeprefix("NVIDIA ").removeprefix("GeForce ")
        return f"{pod.account} {gpu}".strip()

    @display(description="heartbeat", ordering="beat_at")
    def shown_beat(self, pod: Pod) -> str:
        """The age of the last heartbeat that a sweep saw."""
        return words.NONE if pod.state in OVER else _lasted(pod.beat_at)

    @display(description="console")
    def console(self, pod: Pod) -> str:
        """A link to the machine in the provider's console."""
        if not pod.console_url.startswith("https://"):
            return words.NONE
        return format_html(
            '<a href="{}" target="_blank" rel="noreferrer noopener">open</a>', pod.console_url
        )

    def get_urls(self) -> list[Any]:
        """The addresses, with a page for the logs."""
        logs = self.admin_site.admin_view(self.logs)
        return [path("<int:pod_id>/logs/", logs, name="pods_pod_logs"), *super().get_urls()]

    def logs(self, request: HttpRequest, pod_id: int) -> HttpResponse:
        """The page with the output of the pod's machine."""
        pod = self.get_object(request, str(pod_id))
        if pod is None or not self.has_view_permission(request, pod):
            raise Http404(f"no pod has the id {pod_id}")
        text = problem = ""
        try:
            text = machine_logs.logs_of(pod)
        except (ProviderError, CannotConnect, LookupError) as exc:
            problem = without_passwords(f"{type(exc).__name__}: {exc}")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Logs of {self.short_name(pod)}", "opts": self.opts, "pod": pod,
            "logs": text, "problem": problem,
        }  # fmt: skip
        return TemplateResponse(request, "admin/pods/pod/logs.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The pod's page, with the actions that are possible."""
        pod = self.get_object(request, object_id)
        shown: dict[str, Any] = {} if pod is None else {
            "pod": pod, "age": self.shown_age(pod), "idle": self.shown_idle(pod),
            "beat": self.shown_beat(pod), "console": self.console(pod),
            "cost": self.shown_cost(pod), "price": self.shown_price(pod),
            "million": self.shown_million(pod), "rate": self.shown_rate(pod),
            "over": pod.state in OVER, "may_operate": self.has_operate_permission(request),
            "verbs": ("drain", "stop", "destroy"),
            "measures": use.measures(pod), "held_by": use.held_by(pod),
            "events": pod.events.order_by("-pk")[:EVENTS_SHOWN],
        }  # fmt: skip
        context = {**(extra_context or {}), **shown}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may act on pods."""
        return request.user.has_perm("pods.change_pod")

    @action(description="Drain: finish items in hand, then destroy", permissions=["operate"])
    def drain(self, request: HttpRequest, pods: QuerySet[Pod]) -> TemplateResponse | None:
        """Retire the pods after the operator has confirmed it."""
        return self._end(request, pods, "drain", lambda pod, *, by: teardown.retire_pod(
            pod, by=by, rule=PodRule.OPERATOR, because="drained by an operator"
        ))  # fmt: skip

    @action(description="Stop: drain, then keep only the disk", permissions=["operate"])
    def stop(self, request: HttpRequest, pods: QuerySet[Pod]) -> TemplateResponse | None:
        """Stop the pods whose provider can, after the operator has confirmed it."""
        return self._end(request, pods, "stop", lambda pod, *, by: teardown.stop_pod(
            pod, by=by, rule=PodRule.OPERATOR, because="stopped by an operator"
        ))  # fmt: skip

    @action(description="Destroy now: items in hand go to other pods", permissions=["operate"])
    def destroy(self, request: HttpRequest, pods: QuerySet[Pod]) -> TemplateResponse | None:
        """Destroy the pods without a drain after the operator has confirmed it."""
        return self._end(request, pods, "destroy", lambda pod, *, by: teardown.retire_pod(
            pod, by=by, rule=PodRule.OPERATOR, because="destroyed by an operator", drain=False
        ))  # fmt: skip

    def _end(
        self, request: HttpRequest, pods: QuerySet[Pod], verb: str, act: Act
    ) -> TemplateResponse | None:
        if request.POST.get("confirmed"):
            self._act(request, pods, verb, act)
            return None
        named = list(pods.exclude(state__in=OVER).order_by("name"))
        context = {
            **self.admin_site.each_context(request),
            "title": verb.capitalize(),
            "opts": self.opts,
            "pods": named,
            "verb": verb,
            "hourly_usd": sum((pod.hourly_usd for pod in named), Decimal(0)),
        }
        return TemplateResponse(request, "admin/pods/pod/confirm_end.html", context)

    def _act(self, request: HttpRequest, pods: QuerySet[Pod], verb: str, act: Act) -> None:
        by = f"admin:{request.user.get_username()}"[:60]
        begun: list[str] = []
        not_begun: list[str] = []
        for pod in pods:
            try:
                done = _act_as_it_is(pod, partial(act, by=by))
            except (Overtaken, CannotConnect, teardown.CannotStop) as exc:
                messages.error(request, f"{self.short_name(pod)}: {exc}")
                continue
            (begun if done else not_begun).append(self.short_name(pod))
        if begun:
            messages.success(request, f"{verb}: started for {', '.join(begun)}")
        if not_begun:
            messages.warning(request, f"already ending or ended: {', '.join(not_begun)}")
