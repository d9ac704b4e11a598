"""Accounts in the admin, with their health."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.decorators import action, display

from pods import masking
from pods.accounts import editing, surveying
from pods.accounts.editing import Tried
from pods.admin.base import Page
from pods.base.clock import utcnow
from pods.base.typed_json import FORM_FIELDS
from pods.models import Account, Survey

LOCAL_RUNS_CODE: Final = (
    "Who may edit a fleet chooses the code that its pods run. On an account of the provider local "
    "that code runs on this machine as the manager's user: it can read the manager's keys and change "
    "its database."
)


class AccountForm(ModelForm):  # type: ignore[type-arg]
    """The form of an account; it refuses the same values as the command line."""

    class Meta:
        """The provider's field says what the provider `local` allows."""

        help_texts: ClassVar[dict[str, str]] = {"provider": LOCAL_RUNS_CODE}

    tried: Tried

    def full_clean(self) -> None:
        """Try the account with a real call if all fields are right."""
        super().full_clean()
        if not self.is_bound or self.errors:
            return
        try:
            self.tried = editing.check_account(self.instance)
        except ValidationError as exc:
            for name, errors in exc.error_dict.items():
                self.add_error(name if name in self.fields else None, errors)


def _wish_text(survey: Survey) -> str:
    if survey.surveyed_at is None:
        return f"{surveying.words_of(survey)}: not read yet"
    more = f" (not all: {survey.partial})" if survey.partial else ""
    return f"{surveying.words_of(survey)}: {len(survey.offers)}{more}"


@admin.register(Account)
class AccountAdmin(Page):
    """The list and the page of accounts, with their health."""

    form = AccountForm
    masked: ClassVar = {"options": masking.without_secrets}
    list_display = ("name", "provider", "enabled", "shown_health", "surveyed_at", "swept_at")
    list_filter = ("provider", "enabled")
    formfield_overrides = FORM_FIELDS
    readonly_fields = (
        "failures",
        "open_until",
        "last_error",
        "surveyed_at",
        "swept_at",
        "offers_known",
        "wishes_known",
    )
    actions = ("survey",)

    @display(description="health", label={"well": "success", "left alone": "danger"})
    def shown_health(self, account: Account) -> str:
        """Whether its circuit breaker is open."""
        is_open = account.open_until is not None and account.open_until > utcnow()
        return "left alone" if is_open else "well"

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
        editing.write_account(obj, form.changed_data, tried=form.tried)
        if obj.enabled:
            self._survey(request, [obj])

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
                messages.success(request, f"{account}: {count} offers")
