"""Alerts in the admin: the inbox, the channels and their deliveries."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from fleet.alerts import delivering, reconciling
from fleet.alerts.addresses import BadAddress
from fleet.alerts.delivering import Undelivered
from fleet.models import Alert, Channel, Delivery
from fleet.pages import remedies
from pods.admin.base import Page, ReadOnly
from pods.admin.own_words import OwnWords
from pods.base.clock import utcnow
from pods.base.words import NONE
from pods.plural import plural

SEVERITY_LABELS: Final = {"critical": "danger", "warning": "warning", "info": "info"}


class OpenFilter(admin.SimpleListFilter):
    """The filter of the inbox; by default it shows the alerts that nobody has answered."""

    title = "state"
    parameter_name = "is"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """The choices besides the default."""
        return [("silent", "acknowledged or snoozed"), ("resolved", "resolved"), ("all", "all")]

    def choices(self, changelist: Any) -> Any:
        """The choices as the page shows them; the first one is the default, "open"."""
        first, *others = super().choices(changelist)
        yield {**first, "display": "open"}
        yield from others

    def queryset(self, _request: HttpRequest, alerts: QuerySet[Any]) -> QuerySet[Any]:
        """The alerts of the choice."""
        loud = Alert.objects.loud(utcnow()).values("pk")
        if self.value() == "all":
            return alerts
        if self.value() == "resolved":
            return alerts.exclude(resolved_at=None)
        if self.value() == "silent":
            return alerts.filter(resolved_at=None).exclude(pk__in=loud)
        return alerts.filter(pk__in=loud)


class DeliveryInline(TabularInline):  # type: ignore[misc]
    """The deliveries of an alert."""

    model = Delivery
    fields = ("channel", "announcement", "state", "attempts", "sent_at", "last_error")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: only the software makes deliveries."""
        return False


@admin.register(Alert)
class AlertAdmin(ReadOnly):
    """The inbox of alerts."""

    list_display = (
        "shown_severity", "text", "what_to_do", "fleet", "cause", "first_seen_at", "last_seen_at",
        "acknowledged_by", "snoozed_until", "snoozed_by", "resolved_at",
    )  # fmt: skip
    list_display_links = ("shown_severity", "text")
    list_filter = (OpenFilter, "severity", "cause", "fleet")
    search_fields = ("text", "subject")
    ordering = ("-first_seen_at",)
    list_select_related = ("fleet",)
    show_full_result_count = False
    inlines: ClassVar = [DeliveryInline]
    readonly_fields = ("what_to_do",)
    actions = ("acknowledge", "snooze_1_h", "snooze_8_h", "snooze_24_h", "as_csv", "as_json")

    @display(description="severity", ordering="severity", label=SEVERITY_LABELS)
    def shown_severity(self, alert: Alert) -> str:
        """The severity as a badge."""
        return alert.severity

    @display(description="what to do")
    def what_to_do(self, alert: Alert) -> str:
        """A link to the page on which an operator answers the alert."""
        page = remedies.remedy(alert)
        return NONE if page is None else format_html('<a href="{}">{}</a>', page.url, page.text)

    def has_answer_permission(self, request: HttpRequest) -> bool:
        """Whether the user may acknowledge and snooze."""
        return request.user.has_perm("fleet.acknowledge_alert")

    @action(description="Acknowledge: silent until the cause ends", permissions=["answer"])
    def acknowledge(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        """Silence the alerts until their cause ends."""
        count = reconciling.acknowledge(alerts, by=request.user.get_username())
        messages.success(request, f"{plural(count, 'alert')} acknowledged")

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
        count = reconciling.snooze(alerts, until=until, by=request.user.get_username())
        messages.success(request, f"{plural(count, 'alert')} snoozed for {hours} h")


class ChannelForm(OwnWords):
    """A channel. The form never shows its address again, because the address holds a token."""

    address = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "password", "autocomplete": "off"}),
        help_text="For example slack://…, mailto://…, ntfys://topic, pagerduty://… or "
        "jsons://host/path. docs/reference/alerts.md has all forms. The address is stored "
        "encrypted. Leave the field empty to keep the stored address.",
    )

    class Meta:
        """The fields that operators edit."""

        model = Channel
        fields = ("name", "min_severity", "enabled")

    def clean_address(self) -> str:
        """Refuse an address that alerts must not be sent to."""
        address = str(self.cleaned_data["address"]).strip()
        if not address and not self.instance.pk:
            raise forms.ValidationError("give an address; a new channel needs one")
        if address:
            try:
                delivering.check_address(address)
            except BadAddress as exc:
                raise forms.ValidationError(str(exc)) from exc
        return address


@admin.register(Channel)
class ChannelAdmin(Page):
    """The channels on which alerts are sent."""

    form = ChannelForm
    list_display = ("name", "min_severity", "enabled")
    fields = ("name", "address", "min_severity", "enabled")
    actions = ("send_test",)

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        """Save the channel; encrypt its address if a new one was given."""
        delivering.write_channel(obj, form.cleaned_data["address"])

    @action(description="Send a test message", permissions=["change"])
    def send_test(self, request: HttpRequest, channels: QuerySet[Channel]) -> None:
        """Send a test message to each channel now."""
        for channel in channels:
            try:
                delivering.try_channel(channel)
            except (Undelivered, BadAddress) as exc:
                messages.error(request, f"{channel.name}: {exc}")
            else:
                messages.success(request, f"{channel.name}: the test message was sent")
