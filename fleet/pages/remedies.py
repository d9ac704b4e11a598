"""Where an operator mends what an alert is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from django.urls import reverse

from fleet.decision.alert_facts import Cause
from fleet.decision.field_words import LABELS, RULES
from fleet.decision.values import Rule
from fleet.models import Alert

# The page of what an alert is about, by the first word of its subject, and the words of its link.
PAGES: Final[Mapping[str, tuple[str, str]]] = {
    "pod": ("admin:pods_pod_change", "Open the pod"),
    "account": ("admin:pods_account_change", "Open the account"),
    "fleet": ("admin:fleet_fleet_status", "Open the fleet"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A page, and what the link to it says; with `fields` it is a button that sends them."""

    url: str
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)
    permission: str = ""  # what a user needs for it; "": to see the alert is enough
    away: bool = False  # it leads to a vendor's site


# The field of a fleet that a rule reads, for the link from what holds it back.
FIELDS: Final[Mapping[Rule, str]] = {
    Rule.MAX_INSTANCES: "max_instances",
    Rule.ROOM: "max_instances",
    Rule.MAX_HOURLY_USD: "max_hourly_usd",
    Rule.DAILY_BUDGET_USD: "daily_budget_usd",
    Rule.TOTAL_BUDGET_USD: "total_budget_usd",
    Rule.BUDGET_USD: "budget_usd",
    Rule.DRAIN_BY: "drain_by",
    Rule.GOAL_BUDGET: "budget_usd",
    Rule.CHEAPEST: "goal",
    Rule.MIN_BUSY_PERCENT: "min_busy_percent",
    Rule.TOLERATED_FAILURE_PERCENT: "tolerated_failure_percent",
    Rule.NO_OFFERS: "offer_gpu_types",
    Rule.DEMAND: "target_depth_per_pod",
    Rule.MIN_INSTANCES: "min_instances",
    Rule.SPAWN_PER_TICK: "spawn_per_tick",
    Rule.UNKNOWN: "backlog_url",
}
# Rules of the whole installation: their limits are on one page.
LIMITS: Final = frozenset(
    {
        Rule.INSTALLATION_INSTANCES,
        Rule.INSTALLATION_HOURLY_USD,
        Rule.INSTALLATION_DAILY_BUDGET,
    }
)


def field_of(rule: Rule, fleet_id: int) -> Remedy | None:
    """The field that an operator changes to lift a rule; None: no field does."""
    if rule in LIMITS:
        return Remedy(url=reverse("admin:fleet_limits_changelist"), text="Limits")
    if rule not in FIELDS:
        return None
    url = field_url(fleet_id, FIELDS[rule])
    return Remedy(url=url, text=LABELS.get(FIELDS[rule], RULES[rule]))


def field_url(fleet_id: int, name: str) -> str:
    """The address of a field of a fleet's form."""
    return f"{reverse('admin:fleet_fleet_change', args=[fleet_id])}#id_{name}"


# Rules that no field lifts, and the page that does.
LIFTED_ON: Final[Mapping[Rule, str]] = {
    Rule.STOP_ALL: "admin:fleet_fleet_status",
    Rule.PAUSED: "admin:fleet_fleet_status",
    Rule.ALL_FAIL: "admin:fleet_fleet_dead",
}
LISTED_ON: Final[Mapping[Rule, str]] = {
    Rule.OVERRIDE: "admin:fleet_override_changelist",
    Rule.BRAKE: "admin:pods_pod_changelist",
}


def page_of(rule: Rule, fleet_id: int) -> str:
    """The address of the field or the page on which an operator lifts a rule; "": there is none."""
    field = field_of(rule, fleet_id)
    if field is not None:
        return field.url
    if rule in LIFTED_ON:
        return reverse(LIFTED_ON[rule], args=[fleet_id])
    if rule in LISTED_ON:
        return f"{reverse(LISTED_ON[rule])}?fleet__id__exact={fleet_id}"
    return ""


def remedy(alert: Alert) -> Remedy | None:
    """The page on which an operator answers this alert; None if there is none for it."""
    if alert.cause == Cause.DEAD_LETTERS and alert.fleet_id is not None:
        url = reverse("admin:fleet_fleet_dead", args=[alert.fleet_id])
        return Remedy(url=url, text="Failed items by error")
    if alert.cause == Cause.STOPPED:
        return Remedy(url=reverse("stop-everything"), text="Undo the stop")
    kind, _, rest = alert.subject.partition(":")
    number = rest.partition(":")[0]  # "fleet:7:today" is about a budget of fleet 7
    if kind == "orphan":
        return Remedy(url=reverse("admin:pods_orphan_changelist"), text="See unknown machines")
    if kind not in PAGES or not number.isascii() or not number.isdigit():
        return None
    page, text = PAGES[kind]
    return Remedy(url=reverse(page, args=[int(number)]), text=text)
