"""Accounts in the admin, with their health."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.decorators import action, display

from pods import masking
from pods.accounts import breaker, editing, surveying
from pods.accounts.breaker import Health
from pods.admin.account_form import PREFIX, described, form_for
from pods.admin.base import Page
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
HEALTH_COLORS: Final = {
    Health.WELL.value: "success",
    Health.NOT_SURVEYED.value: "info",
    Health.FAILING.value: "warning",
    Health.LEFT_ALONE.value: "danger",
}


def _provider(request: HttpRequest, obj: Account | None) -> str:
    """The provider of an account, or the one that was chosen for a new account."""
    if obj is not None:
        return obj.provider
    return str(request.POST.get("provider") or request.GET.get("provider") or "")


def _providers() -> list[tuple[str, str]]:
    """The providers that exist, each with a line about its pods."""
    return [(name, _about(name)) for name in registry.names()]


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
class AccountAdmin(Page):
    """The list and the page of accounts, with their health."""

    masked: ClassVar = {"options": masking.without_secrets}
    list_display = ("name", "provider", "enabled", "shown_health", "surveyed_at", "swept_at")
    list_filter = ("provider", "enabled")
    formfield_overrides = FORM_FIELDS
    readonly_fields = (
        "key_now",
        "failures",
        "open_until",
        "last_error",
        "surveyed_at",
        "swept_at",
        "offers_known",
        "wishes_known",
    )
    actions = ("check_key", "survey")
    change_form_outer_before_template = "admin/pods/account/verbs.html"

    def get_form(
        self, request: HttpRequest, obj: Account | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form with a field for each option of the account's provider."""
        form = form_for(_provider(request, obj))
        return super().get_form(request, obj, change=change, **{**kwargs, "form": form})

    def get_fieldsets(self, request: HttpRequest, obj: Account | None = None) -> Any:
        """Name and key, then the provider's options, then what the manager saw."""
        may_edit = obj is None or self.has_change_permission(request, obj)
        options = described(_provider(request, obj)) if may_edit else None
        names = ["options"] if options is None else [PREFIX + option.name for option in options]
        key = [*(["key_now"] if obj else []), *(["key"] if may_edit else []), "secret_ref"]
        fieldsets = [
            (None, {"fields": ["name", "provider", "enabled", "orphans"]}),
            ("Key", {"fields": key}),
            ("Options: an empty field stands for its default", {"fields": names}),
            *([("What the manager saw", {"fields": self.readonly_fields[1:]})] if obj else []),
        ]
        return self.as_may_be_seen(request, obj, fieldsets)

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

    @display(description="health", label=HEALTH_COLORS)
    def shown_health(self, account: Account) -> str:
        """Whether it answers, and whether its circuit breaker is open."""
        return breaker.health(account, now=utcnow()).value

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
        """Save the account, then survey its offers."""
        editing.write_account(obj, form.changed_columns, tried=form.tried)
        messages.success(request, f"{obj}: {form.tried.says}")
        if obj.enabled:
            self._survey(request, [obj])

    @action(description="Check the key now, with a real call", permissions=["change"])
    def check_key(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Try each account's key."""
        for account in accounts:
            tried = editing.try_account(account)
            tell = messages.success if tried.good else messages.error
            tell(request, f"{account}: {tried.says}")

    @action(description="Survey offers now", permissions=["change"])
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
                messages.success(request, f"{account}: {plural(count, 'offer')}")
