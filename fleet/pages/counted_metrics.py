"""What the manager's processes count together: decisions, calls to vendors, and how long pods take."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from django.db.models import OuterRef, Subquery
from redis import RedisError

from fleet.models import Balance
from fleet.pages.metric_families import Families
from pods.accounts import breaker
from pods.base import counters
from pods.base.clock import utcnow
from pods.base.counters import BEYOND, BUCKETS, Field
from pods.models import Account

BOUNDS: Final = (*map(str, BUCKETS), BEYOND)
DURATIONS: Final = {
    "spawn": ("podfleet_pod_spawn_seconds", "From the request of a pod until its machine exists."),
    "boot": ("podfleet_pod_boot_seconds", "From then until its agent is ready for items."),
}


def counted(into: Families, fleets: Mapping[int, str]) -> None:
    """Add what is counted about these fleets and all accounts; nothing while Redis is away."""
    accounts = _accounts(into)
    try:
        found = counters.read()
    except RedisError:
        return
    _decisions(into, found, fleets)
    _calls(into, found, accounts)
    for kind, (name, text) in DURATIONS.items():
        for provider, numbers in _grouped(found, kind).items():
            counts = [(bound, numbers.get(bound, 0.0)) for bound in BOUNDS]
            into.histogram(name, text, counts, numbers.get("sum", 0.0), provider=provider)


def _grouped(found: Mapping[Field, float], name: str) -> Mapping[str, Mapping[str, float]]:
    """The counters of a name by their first label, and by their second one."""
    by: dict[str, dict[str, float]] = defaultdict(dict)
    for field, number in found.items():
        if field[0] == name and len(field) == 3:
            by[field[1]][field[2]] = number
    return dict(sorted(by.items()))


def _decisions(into: Families, found: Mapping[Field, float], fleets: Mapping[int, str]) -> None:
    by_fleet = _grouped(found, "decisions")
    for pk, name in fleets.items():
        for rule, number in sorted(by_fleet.get(str(pk), {}).items()):
            into.counter(
                "podfleet_decisions", "Decisions by the rule that kept them below the wish.",
                number, fleet=name, rule=rule or "none",
            )  # fmt: skip


def _calls(
    into: Families, found: Mapping[Field, float], accounts: Mapping[str, tuple[str, str]]
) -> None:
    for field, number in sorted(found.items()):
        account, provider = accounts.get(field[1], ("", ""))
        if field[0] == "calls" and len(field) == 4 and account:
            into.counter(
                "podfleet_provider_calls", "Calls to vendors by how they ended.", number,
                account=account, provider=provider, call=field[2], result=field[3],
            )  # fmt: skip
        if field[0] == "call_seconds" and len(field) == 3 and account:
            into.counter(
                "podfleet_provider_call_seconds", "Seconds that calls to vendors took in all.",
                number, account=account, provider=provider, call=field[2],
            )  # fmt: skip


def _accounts(into: Families) -> Mapping[str, tuple[str, str]]:
    """Add the state of each account; return their names and providers by the id as a text."""
    now = utcnow()
    newest = Balance.objects.filter(account=OuterRef("pk")).order_by("-at").values("usd")[:1]
    rows: Iterable[Account] = (
        Account.objects.only("name", "provider", "enabled", "open_until", "failures")
        .annotate(usd=Subquery(newest))
        .order_by("name")
    )
    names = {}
    for row in rows:
        names[str(row.pk)] = (row.name, row.provider)
        labels = {"account": row.name, "provider": row.provider}
        paused = row.enabled and breaker.is_open(row, now=now)
        into.gauge(
            "podfleet_account_paused",
            "1 if it is left alone after failures.",
            int(paused),
            **labels,
        )
        into.gauge(
            "podfleet_account_failures", "Failures in a row.", row.failures, **labels,
        )  # fmt: skip
        into.gauge(
            "podfleet_account_balance_usd", "What is left at the vendor.",
            getattr(row, "usd", None), **labels,
        )  # fmt: skip
    return names
