"""The channels of alerts in the admin: a kind with its own fields, a test, and the last message."""

from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from fleet.alerts import addresses, composing, delivering
from fleet.alerts.addresses import BadAddress
from fleet.alerts.composing import Kind, Missing
from fleet.alerts.delivering import Undelivered
from fleet.models import Channel, Delivery
from pods.admin.own_words import OwnWords
from pods.admin.row_verbs import WithRowVerb
from pods.base import moments
from pods.base.command_name import where_is

LONGEST: Final = 2000
TITLES: Final = {
    Kind.SLACK: "Slack",
    Kind.EMAIL: "Email",
    Kind.NTFY: "ntfy",
    Kind.PAGERDUTY: "PagerDuty",
    Kind.WEBHOOK: "Webhook",
    Kind.OTHER: "Other",
}
FIELDS: Final = {
    Kind.SLACK: ("slack_webhook",),
    Kind.EMAIL: (
        "email_to", "email_server", ("email_user", "email_password"), "email_from",
    ),
    Kind.NTFY: ("ntfy_topic", "ntfy_server"),
    Kind.PAGERDUTY: ("pagerduty_key", "pagerduty_api_key"),
    Kind.WEBHOOK: ("webhook_url",),
    Kind.OTHER: ("address",),
}  # fmt: skip


def _text(label: str, help_text: str, placeholder: str = "") -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "placeholder": placeholder})
    return forms.CharField(
        required=False, max_length=LONGEST, label=label, help_text=help_text, widget=widget
    )


def _secret(label: str, help_text: str) -> forms.CharField:
    """A field whose value is never written into a page, not even into that of a refused form."""
    widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
    return forms.CharField(
        required=False, max_length=LONGEST, label=label, help_text=help_text, widget=widget
    )


class ChannelForm(OwnWords):
    """A channel. The form never shows its address again, because the address holds a token."""

    kind = forms.ChoiceField(
        required=False,
        label="Where alerts go",
        choices=[(kind.value, title) for kind, title in TITLES.items()],
        widget=UnfoldAdminSelectWidget(),
        help_text="What you type below is stored encrypted, and never shown again.",
    )
    slack_webhook = _secret(
        "Webhook", "As Slack shows it: https://hooks.slack.com/services/T…/B…/…"
    )
    email_to = _text("To", "Who gets the alerts.", "ops@example.com")
    email_server = _text(
        "Mail server", "With its port, if it is not the usual one.", "smtp.example.com:587"
    )
    email_user = _text("User", "Of the mail server. Empty: it asks for none.")
    email_password = _secret("Password", "Of the mail server.")
    email_from = _text("From", "Empty: the user, if that is an address.", "podfleet@example.com")
    ntfy_topic = _secret("Topic", "The name after ntfy.sh/. Who knows it can read the alerts.")
    ntfy_server = _text("Server", "Empty: ntfy.sh.", "https://ntfy.example.com")
    pagerduty_key = _secret("Integration key", "Of the service that gets the incidents.")
    pagerduty_api_key = _secret("API key", "Of your PagerDuty account.")
    webhook_url = _secret("Address", "It gets a POST with JSON: https://example.com/alerts")
    address = _secret(
        "Address",
        "For example discord://…, tgram://… or gotifys://…. "
        f"{where_is('reference/alerts.md')} has all forms.",
    )

    class Meta:
        """The fields that operators edit."""

        model = Channel
        fields = ("name", "min_severity", "enabled")
        labels: ClassVar = {
            "name": "Name", "min_severity": "Send what is at least", "enabled": "In use",
        }  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "kind" in self.fields:
            keep = ("", f"Keep the stored address ({stored_kind(self.instance)})")
            choices = self.fields["kind"].choices  # type: ignore[attr-defined]
            self.fields["kind"].choices = [keep, *choices]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Compose the address, and refuse one that alerts must not be sent to."""
        cleaned = super().clean() or {}
        kind = cleaned.get("kind") or (Kind.OTHER.value if self._needs_one(cleaned) else "")
        cleaned["address"] = self._composed(Kind(kind), cleaned) if kind else ""
        return cleaned

    def _needs_one(self, cleaned: dict[str, Any]) -> bool:
        """A new channel needs an address; a given one is used even if no kind is chosen."""
        return not self.instance.pk or bool(cleaned.get("address"))

    def _composed(self, kind: Kind, cleaned: dict[str, Any]) -> str:
        names = [n for row in FIELDS[kind] for n in ([row] if isinstance(row, str) else row)]
        try:
            address = composing.composed(kind, {name: cleaned.get(name) or "" for name in names})
            delivering.check_address(address)
        except Missing as exc:
            self.add_error(exc.field, str(exc))
        except BadAddress as exc:
            self.add_error(names[0], str(exc))
        else:
            return address
        return ""


def stored_kind(channel: Channel) -> str:
    """The kind of the stored address; the address itself is never shown."""
    try:
        return TITLES[composing.kind_of(addresses.unseal(channel.sealed_url))]
    except BadAddress:
        return "it cannot be read"


@admin.register(Channel)
class ChannelAdmin(WithRowVerb):
    """The channels on which alerts are sent."""

    nothing = "No channel, so nobody is told of an alert. Add where they go, and send a test."
    form = ChannelForm
    list_display = ("name", "kind_now", "min_severity", "enabled", "last_sent")
    readonly_fields = ("kind_now", "last_sent")
    actions = ("send_test",)
    compressed_fields = False
    row_action, row_text = "send_test", "Send a test"
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("name", "kind", "last_sent")}),
        *(
            (TITLES[kind], {"fields": fields, "classes": (f"pf-of pf-of-{kind.value}",)})
            for kind, fields in FIELDS.items()
        ),
        ("What it gets", {"fields": ("min_severity", "enabled")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fieldsets; the fields of an address only for who may write one."""
        whole = super().get_fieldsets(request, obj)
        shown = [(title, how) for title, how in whole if flatten(how["fields"])]
        (_, how), *others = shown
        names = ("name", "kind") if obj is None else how["fields"]
        if "kind" not in names:  # it is a field of the form alone
            names = ("name", "kind_now", "last_sent")
        return [(None, {**how, "fields": names}), *others]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        """The channels, each with its last message, in one query."""
        sent = Max("deliveries__sent_at", filter=Q(deliveries__state=Delivery.State.SENT))
        channels: QuerySet[Channel] = super().get_queryset(request)
        return channels.annotate(last_sent_at=sent)

    @display(description="kind")
    def kind_now(self, channel: Channel) -> str:
        """Slack, email and so on."""
        return stored_kind(channel)

    @display(description="last sent", ordering="last_sent_at")
    def last_sent(self, channel: Any) -> str:
        """When it last took an alert."""
        at = getattr(channel, "last_sent_at", None)
        return "no alert yet" if at is None else moments.shown(at)

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        """Save the channel; encrypt its address if a new one was given."""
        delivering.write_channel(obj, form.cleaned_data["address"])

    def response_add(
        self, request: HttpRequest, obj: Channel, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the channel's page, which has the button for a test."""
        return self.response_change(request, obj)

    def response_change(self, request: HttpRequest, obj: Channel) -> HttpResponse:
        """Say that it is saved, and show the page again."""
        messages.success(request, f"Saved. Send a test to see that {obj.name} works.")
        return HttpResponseRedirect(reverse("admin:fleet_channel_change", args=[obj.pk]))

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
