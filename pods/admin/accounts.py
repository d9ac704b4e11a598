"""Accounts in the admin, with their health."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import localtime
from unfold.decorators import action, display

from pods import masking
from pods.accounts import breaker, editing, surveying
from pods.accounts.breaker import Health
from pods.accounts.editing import Tried
from pods.admin.account_form import PREFIX, described, form_for
from pods.admin.row_verbs import WithRowVerb
from pods.base import words
from pods.base.clock import utcnow
from pods.base.typed_json import FORM_FIELDS
from pods.models import Account, Survey
from pods.plural import plural
from pods.providers import registry

LOCAL_RUNS_CODE: Final = (
    "Who may edit a fleet chooses the code that its pods run. On an account of the provider local "
    "that code runs on this machine as the manager's user: it can read the manager's keys and change "
    "its database."
)
LABELS: Final = {
    "name": "Name",
    "enabled": "In use",
    "orphans": "Machines of ours without a pod",
    "secret_ref": "Or read it from",
    "registry_host": "Registry",
    "registry_user": "User at the registry",
}

REGISTRY: Final = ("registry_host", "registry_user")
ABOUT: Final = ("name", "provider", "enabled", "orphans")


def _provider(request: HttpRequest, obj: Account | None) -> str:
    """The provider of an account, or the one that was chosen for a new account."""
    if obj is not None:
        return obj.provider
    return str(request.POST.get("provider") or request.GET.get("provider") or "")


def _providers() -> list[tuple[str, str, str]]:
    """The providers that exist, each with its title and a line about its pods."""
    return [(name, registry.title(name), _about(name)) for name in registry.names()]


# How the state of an account is shown: its colour and its icon; the word comes from `_state`.
LOOKS: Final = {
    Health.WELL: ("green", "●"),
    Health.NOT_SURVEYED: ("grey", "○"),
    Health.FAILING: ("amber", "▲"),
    Health.LEFT_ALONE: ("red", "✖"),
    Health.DISABLED: ("grey", "‖"),
}
WORDS: Final = {
    Health.WELL: "Working",
    Health.NOT_SURVEYED: "Not tested yet",
    Health.FAILING: "Failing",
    Health.LEFT_ALONE: "Paused",
    Health.DISABLED: "Not in use",
}


def state_of(account: Account) -> str:
    """Whether something can be rented there now, and if not, why and until when."""
    health = breaker.health(account, now=utcnow())
    tone, icon = LOOKS[health]
    mark = format_html('<span class="pf-{}" aria-hidden="true">{}</span>', tone, icon)
    word = WORDS[health]
    if health is Health.LEFT_ALONE and account.open_until is not None:
        word = f"Paused until {localtime(account.open_until):%H:%M}"
    bad = health in {Health.LEFT_ALONE, Health.FAILING} and account.last_error
    return format_html("<span>{} {}{}</span>", mark, word, f": {account.last_error}" if bad else "")


def said_by(account: Account, tried: Tried) -> str:
    """What a test showed: `RunPod accepts the key. $100.00 left. 6 GPU offers from $0.16/h.`"""
    if not tried.good:
        return tried.says
    has_key = bool(account.secret_ref or account.sealed_secret)
    parts = [
        f"{registry.title(account.provider)} {'accepts the key' if has_key else 'answers'}",
        *([] if tried.balance_usd is None else [f"{words.usd(tried.balance_usd)} left"]),
        *([] if account.surveyed_at is None else [_offers(account)]),
    ]
    return f"{'. '.join(parts)}."


def _offers(account: Account) -> str:
    """`6 GPU offers from $0.16/h`, of the last survey."""
    if not account.offers:
        return "No offer now"
    kind = "GPU offer" if any(o.get("gpu_type") for o in account.offers) else "offer"
    lowest = min(Decimal(str(o["hourly_usd"])) for o in account.offers)
    price = f"from {words.usd(lowest)}/h" if lowest else "for nothing"
    return f"{plural(len(account.offers), kind)} {price}"


def _about(name: str) -> str:
    try:
        return registry.about(name)
    except ValueError as exc:  # a package of a third party that cannot be loaded
        return str(exc)


def _wish_text(survey: Survey) -> str:
    if survey.surveyed_at is None:
        return f"{surveying.words_of(survey)}: not read yet"
    more = f" (not all: {survey.partial})" if survey.partial else ""
    return f"{surveying.words_of(survey)}: {len(survey.offers)}{more}"


@admin.register(Account)
class AccountAdmin(WithRowVerb):
    """The list and the page of accounts, with their health."""

    nothing = (
        "No account, so no pod can be rented. Add a vendor with its key, or this machine, free."
    )
    masked: ClassVar = {"options": masking.without_secrets}
    list_display = ("name", "provider", "enabled", "shown_health", "surveyed_at", "swept_at")
    list_filter = ("provider", "enabled")
    formfield_overrides = FORM_FIELDS
    readonly_fields: ClassVar[tuple[str, ...]] = (
        "key_now",
        "registry_now",
        "shown_health",
        "failures",
        "open_until",
        "last_error",
        "surveyed_at",
        "swept_at",
        "offers_known",
        "wishes_known",
    )
    state_shown: ClassVar[tuple[str, ...]] = ("shown_health",)
    seen: ClassVar[tuple[str, ...]] = readonly_fields[3:]
    compressed_fields = False
    actions = ("check_key", "survey")
    row_action, row_text = "check_key", "Test now"
    change_form_outer_before_template = "admin/pods/account/verbs.html"

    def get_form(
        self, request: HttpRequest, obj: Account | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form with a field for each option of the account's provider."""
        form = form_for(_provider(request, obj))
        more = {"form": form, "labels": LABELS}
        return super().get_form(request, obj, change=change, **{**kwargs, **more})

    def get_fieldsets(self, request: HttpRequest, obj: Account | None = None) -> Any:
        """Name and key, then the provider's options, then what the manager saw."""
        may_edit = obj is None or self.has_change_permission(request, obj)
        options = described(_provider(request, obj)) if may_edit else None
        names = ["options"] if options is None else [PREFIX + option.name for option in options]
        key = [*(["key_now"] if obj else []), *(["key"] if may_edit else []), "secret_ref"]
        fieldsets = [
            (None, {"fields": [*(self.state_shown if obj else ()), *ABOUT]}),
            ("Key", {"fields": key}),
            *self._registry(request, obj, may_edit=may_edit),
            ("Options: an empty field stands for its default", {"fields": names}),
            *([("What the manager saw", {"fields": self.seen})] if obj else []),
        ]
        return self.as_may_be_seen(request, obj, fieldsets)

    def _registry(
        self, request: HttpRequest, obj: Account | None, *, may_edit: bool
    ) -> list[tuple[str, dict[str, Any]]]:
        """The login for private images, where the provider takes one or the account has one."""
        account = obj or Account(provider=_provider(request, obj))
        if not account.registry_host and not editing.takes_registry_login(account):
            return []
        shown = ["registry_now"] if obj else []
        typed = ["registry_password"] if may_edit else []
        fields = [*REGISTRY, *shown, *typed]
        return [("Login at the registry of private images", {"fields": fields})]

    @display(description="present password")
    def registry_now(self, account: Account) -> str:
        """Whether the stored account has a password at its registry; never the password."""
        stored = Account.objects.filter(pk=account.pk).exclude(sealed_registry_password="")
        return "stored, encrypted; it is never shown" if stored.exists() else "none"

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> Any:
        """An account stays at its provider: its pods and its key are there."""
        return (*self.readonly_fields, *(["provider"] if obj else []))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """First the choice of a provider, then the form with its options."""
        if request.method == "GET" and not request.GET.get("provider"):
            if not self.has_add_permission(request):
                raise PermissionDenied
            context = {
                **self.admin_site.each_context(request),
                "title": "Add an account: where do you rent?",
                "opts": self.opts,
                "providers": _providers(),
                "local_runs_code": LOCAL_RUNS_CODE,
            }
            return TemplateResponse(request, "admin/pods/account/choose.html", context)
        answer: HttpResponse = super().add_view(request, form_url, extra_context)
        return answer

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The account's page, with its buttons."""
        account = self.get_object(request, object_id)
        may = self.has_change_permission(request, account)
        context = {**(extra_context or {}), "account": account, "may_change": may}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    @display(description="present key")
    def key_now(self, account: Account) -> str:
        """Where the stored account's key is; never the key. The form may hold a refused change."""
        stored = Account.objects.filter(pk=account.pk).values_list("secret_ref", "sealed_secret")
        secret_ref, sealed = stored.first() or ("", "")
        if secret_ref:
            return f"read from {secret_ref}"
        return "stored, encrypted; it is never shown" if sealed else "none"

    @display(description="state")
    def shown_health(self, account: Account) -> str:
        """Whether it answers; while it is left alone, until when and why."""
        return state_of(account)

    @display(description="offers known")
    def offers_known(self, account: Account) -> str:
        """The number of offers that the last survey found, and whether more may exist."""
        partial = account.survey_partial
        return f"{len(account.offers)}{f' (not all: {partial})' if partial else ''}"

    @display(description="offers for what fleets ask for")
    def wishes_known(self, account: Account) -> str:
        """For each wish of the fleets: how many offers there are, and whether more may exist."""
        return "; ".join(map(_wish_text, account.surveys.order_by("pk"))) or "no fleet asks for any"

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        """Save the account, survey its offers, and say what the test showed."""
        editing.write_account(obj, form.changed_columns, tried=form.tried)
        if obj.enabled:
            self._survey(request, [obj], also_well=False)
        tell = messages.success if form.tried.good is not None else messages.warning
        tell(request, f"{obj} is saved. {said_by(obj, form.tried)}")

    def response_add(
        self, request: HttpRequest, obj: Account, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the account's page."""
        return self.response_change(request, obj)

    def response_change(self, request: HttpRequest, obj: Account) -> HttpResponse:
        """Show the account's page again, with what the test showed."""
        return HttpResponseRedirect(reverse("admin:pods_account_change", args=[obj.pk]))

    @action(description="Test now: call the vendor with the key", permissions=["change"])
    def check_key(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Try each account's key."""
        for account in accounts:
            tried = editing.try_account(account)
            tell = messages.success if tried.good else messages.error
            tell(request, f"{account}: {said_by(account, tried)}")

    @action(description="Survey offers now", permissions=["change"])
    def survey(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Survey the accounts now."""
        self._survey(request, list(accounts))

    def _survey(
        self, request: HttpRequest, accounts: Sequence[Account], *, also_well: bool = True
    ) -> None:
        """Survey the accounts, and say what failed; `also_well`: also what went well."""
        for account in accounts:
            count = surveying.survey_account(account)
            account.refresh_from_db(fields=["last_error", "offers", "surveyed_at"])
            if account.last_error:
                messages.error(request, f"{account}: {account.last_error}")
            elif also_well:
                messages.success(request, f"{account}: {plural(count, 'offer')}")
