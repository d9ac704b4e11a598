"""Pods in the admin, with the facts that an operator needs first."""

from decimal import Decimal
from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from unfold.decorators import action, display

from pods import operating, redis_refusals, teardown
from pods.accounts.connecting import CannotConnect
from pods.admin import pod_words, use
from pods.admin.base import ReadOnly
from pods.admin.pod_filters import OVER, LivingFilter
from pods.admin.pod_log import PodLogPage
from pods.base import words
from pods.base.clock import utcnow
from pods.costs import columns
from pods.lifecycle import Overtaken
from pods.models import Pod
from pods.operating import PodVerb
from pods.states import TERMINATING

EVENTS_SHOWN: Final = 100
VERBS: Final = {"drain": "Drain…", "stop": "Stop…", "destroy": "Destroy…"}


@admin.register(Pod)
class PodAdmin(PodLogPage, ReadOnly):
    """The list and the pages of pods."""

    list_display = (
        "short_name", "fleet", "shown_state", "shown_outcome", "shown_age", "shown_price",
        "shown_cost", "shown_gpu",
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
    nothing = (
        "No pod runs, and none failed in the last hour. A fleet that needs pods rents them at its "
        "next tick."
    )
    elsewhere = ("?billing=all", "All pods")
    actions = ("drain", "stop", "destroy", "destroy_again", "as_csv", "as_json")
    change_form_outer_before_template = "admin/pods/pod/summary.html"
    fieldsets = (
        (
            "Machine",
            {
                "classes": ("collapse",),
                "fields": (
                    ("fleet", "account"),
                    ("external_id", "offer_key"),
                    ("gpu_type", "gpu_count"),
                    ("region", "host"),
                    ("hourly_usd", "stopped_hourly_usd"),
                    ("interruptible", "disk_gb"),
                    ("failed", "dead"),
                    "image",
                ),
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

    @display(description="Pod", ordering="name")
    def short_name(self, pod: Pod) -> str:
        """The part of the name that tells pods apart."""
        return pod_words.name_of(pod)

    @display(description="State", ordering="state")
    def shown_state(self, pod: Pod) -> str:
        """The state: icon, word and colour, and for how long a pod idles or what it does."""
        now = utcnow()
        words_of = pod_words.state_of(pod, now)
        more = ""
        if words_of.word == "Idle":
            more = f"for {words.duration(now - (pod.idle_since or now))}"
        elif words_of.word == "Working" and pod.rate:
            more = f"{words.per_second(pod.rate)} items/s"
        return format_html(
            '<span class="pf-cell"><span class="pf-health pf-{}"><span aria-hidden="true">{}</span> {}'
            '</span> <span class="pf-dim">{}</span></span>',
            words_of.tone, words_of.icon, words_of.word, more,
        )  # fmt: skip

    @display(description="Outcome", ordering="retire_rule")
    def shown_outcome(self, pod: Pod) -> str:
        """How it ended and why, also while it is still ending."""
        outcome = pod_words.outcome_of(pod)
        if outcome is None:
            return words.NONE
        why = f": {outcome.reason}" if outcome.reason else ""
        return format_html(
            '<span class="pf-cell"><strong class="pf-{}"><span aria-hidden="true">{}</span> {}</strong>'
            "{}</span>",
            outcome.tone, outcome.icon, outcome.ending.value, why,
        )  # fmt: skip

    @display(description="Age", ordering="requested_at")
    def shown_age(self, pod: Pod) -> str:
        """How old it is, or how long it existed."""
        return words.duration(pod.age(utcnow()))

    @display(description="$/h", ordering="hourly_usd")
    def shown_price(self, pod: Pod) -> str:
        """The price while it runs."""
        return words.usd(pod.hourly_usd)

    @display(description="Cost", ordering="cost_usd")
    def shown_cost(self, pod: Any) -> str:
        """The cost so far."""
        return words.usd(pod.cost_usd)

    @display(description="Machine", ordering="gpu_type")
    def shown_gpu(self, pod: Pod) -> str:
        """The account and the GPU type."""
        gpu = pod.gpu_type.removeprefix("NVIDIA ").removeprefix("GeForce ")
        return f"{pod.account} {gpu}".strip()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The pod's page, with the actions that are possible."""
        pod = self.get_object(request, object_id)
        shown = {} if pod is None else self._shown_of(request, pod)
        context = {**(extra_context or {}), **shown}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def _shown_of(self, request: HttpRequest, pod: Any) -> dict[str, Any]:
        now, over = utcnow(), pod.state in OVER
        return {
            "title": f"{pod.fleet.name} · {pod_words.name_of(pod)}", "subtitle": None,
            "pod": pod, "tab": "pod", "headline": pod_words.headline(pod, now),
            "words": pod_words.state_of(pod, now), "outcome": pod_words.outcome_of(pod),
            "detail": pod_words.detail(pod), "age": pod.age(now),
            "no_redis": redis_refusals.said_by(pod.last_output),
            "idle": None if pod.idle_since is None or pod.state != "ready" else now - pod.idle_since,
            "beat_at": None if over else pod.beat_at,
            "console": pod.console_url if pod.console_url.startswith("https://") else "",
            "rate": words.per_second(pod.rate or None),
            "over": over, "may_operate": self.has_operate_permission(request),
            "verbs": VERBS if pod.state != TERMINATING.value else {"destroy_again": "Destroy again"},
            "measures": use.measures(pod), "held_by": use.held_by(pod),
            "events": pod.events.order_by("-pk")[:EVENTS_SHOWN],
        }  # fmt: skip

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may act on pods."""
        return request.user.has_perm("pods.change_pod")

    @action(description="Drain: finish items in hand, then destroy", permissions=["operate"])
    def drain(self, request: HttpRequest, pods: QuerySet[Pod]) -> TemplateResponse | None:
        """Retire the pods after the operator has confirmed it."""
        return self._end(request, pods, PodVerb.DRAIN)

    @action(description="Stop: drain, then keep only the disk", permissions=["operate"])
    def stop(self, request: HttpRequest, pods: QuerySet[Pod]) -> TemplateResponse | None:
        """Stop the pods whose provider can, after the operator has confirmed it."""
        return self._end(request, pods, PodVerb.STOP)

    @action(description="Destroy now: items in hand go to other pods", permissions=["operate"])
    def destroy(self, request: HttpRequest, pods: QuerySet[Pod]) -> TemplateResponse | None:
        """Destroy the pods without a drain after the operator has confirmed it."""
        return self._end(request, pods, PodVerb.DESTROY)

    @action(description="Destroy again: ask the vendor now", permissions=["operate"])
    def destroy_again(self, request: HttpRequest, pods: QuerySet[Pod]) -> None:
        """Try now to destroy pods that are to end already. It asks nothing: that was decided."""
        self._act(request, pods, PodVerb.DESTROY_AGAIN)

    def _end(
        self, request: HttpRequest, pods: QuerySet[Pod], verb: PodVerb
    ) -> TemplateResponse | None:
        if request.POST.get("confirmed"):
            self._act(request, pods, verb)
            return None
        named = list(pods.exclude(state__in=OVER).order_by("name"))
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.value.capitalize()} pods",
            "opts": self.opts,
            "pods": named,
            "verb": verb.value,
            "hourly_usd": sum((pod.hourly_usd for pod in named), Decimal(0)),
        }
        return TemplateResponse(request, "admin/pods/pod/confirm_end.html", context)

    def _act(self, request: HttpRequest, pods: QuerySet[Pod], verb: PodVerb) -> None:
        by = f"admin:{request.user.get_username()}"
        begun: list[str] = []
        not_begun: list[str] = []
        for pod in pods:
            try:
                done = operating.act(pod, verb, by=by)
            except (Overtaken, CannotConnect, teardown.CannotStop) as exc:
                messages.error(request, f"{self.short_name(pod)}: {exc}")
                continue
            (begun if done else not_begun).append(self.short_name(pod))
        if begun:
            said = verb.value.replace("-", " ")
            messages.success(request, f"{said}: started for {', '.join(begun)}")
        if not_begun:
            why = (
                "not being destroyed"
                if verb is PodVerb.DESTROY_AGAIN
                else "already ending or ended"
            )
            messages.warning(request, f"{why}: {', '.join(not_begun)}")
