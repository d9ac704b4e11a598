"""The tabs of a fleet's pages: each is a link to an address of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.urls import reverse

from fleet.models import Alert, Fleet
from pods.base.clock import utcnow
from pods.models import Pod


class Tab(StrEnum):
    """The pages of a fleet, in the order of the tabs."""

    STATUS = "Status"
    DATASET = "Dataset"
    SETTINGS = "Settings"
    CODE = "Code"
    SECRETS = "Secrets"
    PODS = "Pods"
    DECISIONS = "Decisions"
    ALERTS = "Alerts"
    SPENDING = "Spending"
    FAILED = "Failed items"
    WHAT_IF = "What if"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One tab."""

    tab: Tab
    url: str
    current: bool
    count: int = 0  # 0 is not shown


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetTabs:
    """The tabs of one fleet, as one user may see them."""

    fleet: Fleet
    links: Sequence[Link]


# Pages that have the fleet in their address, with the name of that part.
PAGES: Final[Mapping[str, tuple[Tab, str]]] = {
    "admin:fleet_fleet_status": (Tab.STATUS, "fleet_id"),
    "fleet-next": (Tab.STATUS, "fleet_id"),
    "admin:fleet_fleet_change": (Tab.SETTINGS, "object_id"),
    "admin:fleet_fleet_history": (Tab.SETTINGS, "object_id"),
    "admin:fleet_fleet_dataset": (Tab.DATASET, "fleet_id"),
    "admin:fleet_fleet_code": (Tab.CODE, "fleet_id"),
    "admin:fleet_fleet_secrets": (Tab.SECRETS, "fleet_id"),
    "admin:fleet_fleet_dead": (Tab.FAILED, "fleet_id"),
    "admin:fleet_fleet_what_if": (Tab.WHAT_IF, "fleet_id"),
    "admin:fleet_fleet_shadow": (Tab.WHAT_IF, "fleet_id"),
}
# Lists that show one fleet when their filter says so.
OF_FLEET: Final = "fleet__id__exact"
LISTS: Final[Mapping[str, tuple[Tab, str]]] = {
    "admin:pods_pod_changelist": (Tab.PODS, OF_FLEET),
    "admin:fleet_tick_changelist": (Tab.DECISIONS, OF_FLEET),
    "admin:fleet_alert_changelist": (Tab.ALERTS, OF_FLEET),
    "money": (Tab.SPENDING, "fleet"),
}
KEPT: Final = "tabs_of_the_fleet"  # an attribute of a request
NEEDED: Final[Mapping[Tab, str]] = {
    Tab.PODS: "pods.view_pod",
    Tab.DECISIONS: "fleet.view_tick",
    Tab.ALERTS: "fleet.view_alert",
}


def about(request: Any) -> tuple[int, Tab] | None:
    """The fleet that a page is about, and which of its tabs it is; None for all other pages."""
    match = request.resolver_match
    if match is None:
        return None
    if match.view_name in PAGES:
        tab, part = PAGES[match.view_name]
        return _numbered(str(match.kwargs.get(part, "")), tab)
    if match.view_name in LISTS:
        tab, part = LISTS[match.view_name]
        return _numbered(request.GET.get(part, ""), tab)
    return None


def _numbered(text: str, tab: Tab) -> tuple[int, Tab] | None:
    known = text.isascii() and text.isdigit() and len(text) < 16
    return (int(text), tab) if known else None


def tabs(request: Any) -> FleetTabs | None:
    """The tabs of the fleet that this page is about. At most three queries, once for a request."""
    if not hasattr(request, KEPT):
        setattr(request, KEPT, _tabs(request))
    kept: FleetTabs | None = getattr(request, KEPT)
    return kept


def _tabs(request: Any) -> FleetTabs | None:
    found = about(request)
    if found is None or not request.user.has_perm("fleet.view_fleet"):
        return None
    pk, current = found
    fleet = Fleet.objects.filter(pk=pk).only("name", "dead_letters", "backlog").first()
    if fleet is None:
        return None
    shown = [tab for tab in Tab if tab not in NEEDED or request.user.has_perm(NEEDED[tab])]
    if not fleet.is_dataset and current is not Tab.DATASET:
        shown.remove(Tab.DATASET)
    counts = {Tab.FAILED: fleet.dead_letters}
    if Tab.PODS in shown:
        counts[Tab.PODS] = Pod.objects.billable().filter(fleet=fleet).count()
    if Tab.ALERTS in shown:
        counts[Tab.ALERTS] = Alert.objects.loud(utcnow()).filter(fleet=fleet).count()
    links = [
        Link(tab=tab, url=url_of(tab, pk), current=tab is current, count=counts.get(tab, 0))
        for tab in shown
    ]
    return FleetTabs(fleet=fleet, links=links)


def url_of(tab: Tab, fleet_id: int) -> str:
    """The address of a tab."""
    for page, (known, part) in LISTS.items():
        if known is tab:
            return f"{reverse(page)}?{part}={fleet_id}"
    page = next(page for page, (known, _) in PAGES.items() if known is tab)
    return reverse(page, args=[fleet_id])
