"""Accounts in the admin with their money: what is left at the vendor, and how long it lasts."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.http import HttpRequest
from unfold.decorators import display

from fleet.models import Balance
from pods.admin.accounts import AccountAdmin
from pods.base.words import NONE, duration, usd
from pods.models import Account
from pods.states import ENDED, STOPPED

LONGEST: Final = timedelta(days=365)
BILLS: Final = Sum(
    Case(
        When(pods__state=STOPPED.value, then=F("pods__stopped_hourly_usd")),
        default=F("pods__hourly_usd"),
    ),
    filter=~Q(pods__state__in=[state.value for state in ENDED]),
)

admin.site.unregister(Account)


@admin.register(Account)
class AccountsWithMoney(AccountAdmin):
    """The list and the page of accounts, with what is left at their vendors."""

    list_display = ("name", "provider", "enabled", "shown_health", "balance_now", "surveyed_at")
    readonly_fields: ClassVar[tuple[str, ...]] = (*AccountAdmin.readonly_fields, "balance_now")
    state_shown = ("shown_health", "balance_now")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        """The accounts with their newest balance and what their pods bill, in one query."""
        newest = Balance.objects.filter(account=OuterRef("pk")).order_by("-at")
        accounts: QuerySet[Account] = super().get_queryset(request)
        return accounts.annotate(left_usd=Subquery(newest.values("usd")[:1]), bills_usd=BILLS)

    @display(description="left at the vendor", ordering="left_usd")
    def balance_now(self, account: Any) -> str:
        """`$100.00, lasts 38 h` at the price of the pods that run now."""
        left: Decimal | None = getattr(account, "left_usd", None)
        bills: Decimal | None = getattr(account, "bills_usd", None)
        if left is None:
            return NONE
        return f"{usd(left)}{_lasts(left, bills)}"


def _lasts(left: Decimal, bills: Decimal | None) -> str:
    if not bills:
        return ""
    lasts = timedelta(hours=float(max(left, Decimal(0)) / bills))
    return ", lasts over a year" if lasts > LONGEST else f", lasts {duration(lasts)}"
