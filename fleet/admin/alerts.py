"""Alerts in the admin: the inbox and the deliveries of each alert."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import Case, Count, Q, QuerySet, When
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from unfold.decorators import action, display

from fleet.admin import alert_answers
from fleet.alerts import answering
from fleet.decision.alert_facts import Cause, Severity
from fleet.models import Alert
from fleet.pages import activity, advice, last_runs, sent_to
from fleet.pages import words as fleet_words
from pods.admin.base import ReadOnly
from pods.base import moments, words
from pods.base.clock import utcnow
from pods.plural import plural

TABS: Final = {
    "": "Open",
    "acknowledged": "Acknowledged",
    "snoozed": "Snoozed",
    "ended": "Ended",
}
IN_DETAILS: Final = ("cause", "subject", "fleet", "severity", "round", "announcements")
TIMES: Final = ("first_seen_at", "last_seen_at", "resolved_at")
ANSWERS: Final = ("acknowledged_by", "acknowledged_at", "snoozed_by", "snoozed_until")


class OpenFilter(admin.SimpleListFilter):
    """The tabs of the inbox; at first it shows the alerts that nobody has answered."""

    title = "state"
    parameter_name = "is"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """The choices besides the default."""
        return [*((name, word) for name, word in TABS.items() if name), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        """The choices as the page shows them; the first one is the default, "Open"."""
        first, *others = super().choices(changelist)
        yield {**first, "display": TABS[""]}
        yield from others

    def queryset(self, _request: HttpRequest, alerts: QuerySet[Any]) -> QuerySet[Any]:
        """The alerts of the choice."""
        wanted = self.value() or ""
        return alerts if wanted == "all" else alerts.filter(_of_tab(wanted))


def _of_tab(tab: str) -> Q:
    """The alerts of a tab; of a tab that does not exist, the open ones. An alert is in one tab."""
    now, lasts = utcnow(), Q(resolved_at=None)
    answered = Q(acknowledged_at__isnull=False)
    snoozed = Q(snoozed_until__gt=now)
    return {
        "acknowledged": lasts & answered,
        "snoozed": lasts & ~answered & snoozed,
        "ended": Q(resolved_at__isnull=False),
    }.get(tab, lasts & ~answered & (Q(snoozed_until=None) | Q(snoozed_until__lte=now)))


WORST_FIRST: Final = Case(
    *(When(severity=severity.value, then=severity.rank) for severity in Severity)
).desc()


@admin.register(Alert)
class AlertAdmin(ReadOnly):
    """The inbox of alerts."""

    list_display = ("what", "since", "shown_fleet")
    list_display_links = ("what",)
    list_filter = (OpenFilter, "severity", "cause", "fleet")
    list_fullwidth = True
    search_fields = ("text", "subject")
    ordering = ("-first_seen_at",)
    list_select_related = ("fleet",)
    show_full_result_count = False
    list_before_template = "admin/fleet/alert/tabs.html"
    nothing = "No alert here. One comes by itself, and ends with its cause."
    elsewhere = ("?is=ended", "Ended alerts")
    change_form_outer_before_template = "admin/fleet/alert/summary.html"
    fieldsets = (
        (
            "All facts",
            {"classes": ("collapse",), "fields": (*IN_DETAILS, TIMES, ANSWERS)},
        ),
    )
    actions = (
        "acknowledge", "take_back", "snooze_1_h", "snooze_8_h", "snooze_24_h", "as_csv", "as_json",
    )  # fmt: skip

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        """The worst first, as on the first page; those that have ended by their time."""
        newest = tuple(super().get_ordering(request))
        return newest if request.GET.get("is") == "ended" else (WORST_FIRST, *newest)

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        """The columns; the buttons only for who may press them."""
        shown = super().get_list_display(request)
        return [*shown, "answers"] if self.has_answer_permission(request) else shown

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The inbox, with its tabs and how many alerts each has."""
        now_in = request.GET.get("is", "")
        counts = Alert.objects.aggregate(
            **{f"tab_{name}": Count("pk", filter=_of_tab(name)) for name in TABS if name != "ended"}
        )
        tabs = [
            {"name": name, "word": word, "count": counts.get(f"tab_{name}"), "now": name == now_in}
            for name, word in TABS.items()
        ]
        answer: HttpResponse = super().changelist_view(
            request, {**(extra_context or {}), "tabs": tabs}
        )
        return answer

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The alert's page: what to do, with buttons, and who was told."""
        alert = self.get_object(request, object_id)
        shown = {} if alert is None else self._shown_of(request, alert)
        context = {**(extra_context or {}), **shown}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def _shown_of(self, request: HttpRequest, alert: Alert) -> dict[str, Any]:
        shown = fleet_words.SEVERITIES[alert.severity]
        found = () if alert.resolved_at else advice.remedies_of(alert)
        may = request.user.has_perm
        return {
            "title": alert.get_cause_display(), "subtitle": None, "alert": alert,
            "icon": shown.icon, "word": shown.word, "tone": shown.tone,
            "words": advice.words_of(alert.cause),
            "remedies": [r for r in found if not r.permission or may(r.permission)],
            "runs": last_runs.last_runs(alert.fleet) if alert.cause == Cause.NO_TICK else None,
            "told": sent_to.told(alert),
            "may_answer": self.has_answer_permission(request),
            "may_add_channel": may("fleet.add_channel"),
            "snoozed": alert.snoozed_until is not None and alert.snoozed_until > utcnow(),
            "silent": alert.is_silent(utcnow()),
            "answers": activity.answers_to(alert),
            "hours": alert_answers.HOURS,
        }  # fmt: skip

    @display(description="What", ordering="severity")
    def what(self, alert: Alert) -> str:
        """The severity and the text."""
        shown = fleet_words.SEVERITIES[alert.severity]
        return format_html(
            '<span class="pf-cell"><span class="pf-health pf-{}"><span aria-hidden="true">{}</span> {}'
            '</span> <span class="pf-alert-text">{}</span></span>',
            shown.tone, shown.icon, shown.word, alert.text,
        )  # fmt: skip

    @display(description="Since", ordering="first_seen_at")
    def since(self, alert: Alert) -> str:
        """Since when its cause lasts; when it ended, and who answered it."""
        said = [moments.shown(alert.first_seen_at)]
        if alert.resolved_at is not None:
            said.append(format_html("ended {}", moments.shown(alert.resolved_at)))
        elif alert.acknowledged_at is not None:
            said.append(format_html("acknowledged by {}", alert.acknowledged_by))
        elif alert.snoozed_until is not None and alert.snoozed_until > utcnow():
            until = moments.shown(alert.snoozed_until)
            said.append(format_html("snoozed by {}, ends {}", alert.snoozed_by, until))
        lines = format_html_join("", '<span class="pf-dim">{}</span>', [(s,) for s in said[1:]])
        return format_html('<span class="pf-cell">{} {}</span>', said[0], lines)

    @display(description="Fleet", ordering="fleet")
    def shown_fleet(self, alert: Alert) -> str:
        """The fleet; an alert about an account or everything has none."""
        return alert.fleet.name if alert.fleet else words.NONE

    @display(description="Answer")
    def answers(self, alert: Alert) -> str:
        """The buttons of one alert. They send the form of the list to addresses of their own."""
        if alert.resolved_at is not None:
            return words.NONE
        silent = alert.is_silent(utcnow())
        context = {"alert": alert, "hours": alert_answers.HOURS, "silent": silent}
        return render_to_string("admin/fleet/alert/answers.html", context)

    def has_answer_permission(self, request: HttpRequest) -> bool:
        """Whether the user may acknowledge and snooze."""
        return request.user.has_perm(alert_answers.PERMISSION)

    @action(description="Acknowledge: silent until the cause ends", permissions=["answer"])
    def acknowledge(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        """Silence the alerts until their cause ends."""
        count = answering.acknowledge(alerts, by=request.user.get_username())
        messages.success(request, f"{plural(count, 'alert')} acknowledged")

    @action(description="Take back: needs somebody again", permissions=["answer"])
    def take_back(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        """Undo what silenced the alerts."""
        count = answering.take_back(alerts, by=request.user.get_username())
        messages.success(request, f"{plural(count, 'alert')} taken back")

    @action(description="Snooze for an hour", permissions=["answer"])
    def snooze_1_h(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        """Silence the alerts for an hour."""
        self._snooze(request, alerts, 1)

    @action(description="Snooze for 8 hours", permissions=["answer"])
    def snooze_8_h(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        """Silence the alerts for 8 hours."""
        self._snooze(request, alerts, 8)

    @action(description="Snooze for a day", permissions=["answer"])
    def snooze_24_h(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        """Silence the alerts for a day."""
        self._snooze(request, alerts, 24)

    def _snooze(self, request: HttpRequest, alerts: QuerySet[Alert], hours: int) -> None:
        until = utcnow() + timedelta(hours=hours)
        count = answering.snooze(alerts, until=until, by=request.user.get_username())
        messages.success(request, f"{plural(count, 'alert')} snoozed for {hours} h")
