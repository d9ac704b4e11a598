"""What an empty installation needs before its first fleet, and where each step is done."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from django.urls import reverse

from fleet.ordering import LOCAL
from pods.models import Account

# The example of the tutorial: it needs no GPU, no image and no money.
EXAMPLE: Final = {
    "name": "first",
    "handler": "pods.agent.handlers.wordllama:embed",
    "stream": "first",
    "group": "first",
    "max_instances": "3",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """How far the installation is."""

    local: int | None  # the account of this machine
    rented: tuple[str, ...]  # accounts at vendors, by name

    @property
    def example_url(self) -> str:
        """The form of a new fleet, filled with the example; "": its account is not made yet."""
        return "" if self.local is None else example_url(self.local)


def guide() -> Guide:
    """How far the installation is. One query."""
    accounts = list(Account.objects.order_by("name").values_list("pk", "name", "provider"))
    return Guide(
        local=next((pk for pk, _, provider in accounts if provider == LOCAL), None),
        rented=tuple(name for _, name, provider in accounts if provider != LOCAL),
    )


def example_url(account: int) -> str:
    """The form of a new fleet, filled with the example on this account."""
    values = {**EXAMPLE, "accounts": str(account)}
    return f"{reverse('admin:fleet_fleet_add')}?{urlencode(values)}"
