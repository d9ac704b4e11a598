"""Where a page stands: `Fleets › emb › Pods › c5e03cdb › Log`, without the names of apps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Model
from django.template.defaultfilters import date, truncatechars
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst
from django.utils.timezone import localtime

from fleet.models import Alert, Fleet, Limits, Override, Tick
from fleet.pages import tabs
from pods.machine_names import short_name
from pods.models import Orphan, Pod, PodEvent

LONGEST: Final = 50
# The row that a page is about, by the names under which pages know it.
ROWS: Final = ("original", "object", "pod", "fleet")
# What a page adds to the one of its list or row, by the end of its address's name.
ENDS: Final[Mapping[str, str]] = {
    "change": "", "changelist": "", "add": "Add", "history": "History", "delete": "Delete",
    "status": "", "stop": "Stop",
}  # fmt: skip
# The pages whose titles repeat what stands before them.
PAGES: Final[Mapping[str, str]] = {
    "fleet-next": "Preview next tick",
    "fleet_fleet_change": "Settings",
    "fleet_fleet_dataset": "Dataset",
    "fleet_fleet_dead": "Failed items",
    "fleet_fleet_dead_each": "Each failed item",
    "pods_pod_logs": "Log",
}
# Lists that can show the rows of one fleet alone.
OF_A_FLEET: Final = (Pod, Tick, Alert, Override)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crumb:
    """One step of the way to a page; the page itself has no address."""

    title: str
    url: str = ""


def _moment(tick: Tick) -> str:
    return date(localtime(tick.at), "j M H:i:s")


NAMES: Final[Mapping[type[Model], Callable[[Any], str]]] = {
    Pod: lambda pod: short_name(pod.name, 8),
    Tick: _moment,
    PodEvent: lambda event: f"{event.before or 'new'} → {event.after or 'note'}",
    Orphan: lambda orphan: str(orphan.external_id),
}


def crumbs(context: Any, titles: Mapping[str, str]) -> Sequence[Crumb]:
    """The way to the page of this context; `titles`: what the menu calls each address."""
    match = context["request"].resolver_match
    page = "" if match is None else str(match.url_name)
    title = capfirst(str(context.get("title") or ""))
    row, opts = _row_of(context), context.get("opts")
    if page == "index":
        return [Crumb(title="Overview")]
    if row is not None:
        way = [*_parents(row, context["request"].user, titles), *_row(row, titles)]
    elif opts is not None:
        listed = [] if opts.model is Fleet and page == "money" else [_list(opts, titles)]
        way = [*_of_fleet(context["request"], titles), *listed]
    else:
        way = []
    last = PAGES.get(page) or ENDS.get(page.rpartition("_")[2], title)
    asks = page.endswith("_changelist") and "cl" not in context  # an action that asks first
    if asks and not isinstance(row, Limits):  # whose form is at the address of its list
        last = title
    if last or not way:
        return [*way, Crumb(title=last or title)]
    return [*way[:-1], Crumb(title=way[-1].title)]


def _of_fleet(request: Any, titles: Mapping[str, str]) -> Sequence[Crumb]:
    """The fleet that a list is filtered by."""
    shown = tabs.tabs(request)
    return [] if shown is None else _row(shown.fleet, titles)


def _row_of(context: Any) -> Model | None:
    found = (context.get(name) for name in ROWS)
    return next((row for row in found if isinstance(row, Model)), None)


def _parents(row: Model, user: Any, titles: Mapping[str, str]) -> Sequence[Crumb]:
    """The fleet or the pod that a row belongs to."""
    if isinstance(row, PodEvent):
        return [*_parents(row.pod, user, titles), *_row(row.pod, titles)]
    fleet = getattr(row, "fleet", None)
    if not isinstance(fleet, Fleet) or not user.has_perm("fleet.view_fleet"):
        return []
    return _row(fleet, titles)


def _row(row: Model, titles: Mapping[str, str]) -> Sequence[Crumb]:
    """The list of a row, and the row."""
    listed, fleet = _list(row._meta, titles), getattr(row, "fleet_id", None)
    if isinstance(row, Limits):  # the only one
        return [listed]
    if isinstance(row, OF_A_FLEET) and fleet is not None and listed.url:
        listed = Crumb(title=listed.title, url=f"{listed.url}?fleet__id__exact={fleet}")
    name = NAMES.get(type(row), str)(row)
    url = _address(row._meta, "status" if isinstance(row, Fleet) else "change", row.pk)
    return [listed, Crumb(title=truncatechars(name, LONGEST), url=url)]


def _list(opts: Any, titles: Mapping[str, str]) -> Crumb:
    url = _address(opts, "changelist")
    return Crumb(title=titles.get(url) or capfirst(str(opts.verbose_name_plural)), url=url)


def _address(opts: Any, page: str, *args: Any) -> str:
    try:
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_{page}", args=args)
    except NoReverseMatch:  # a row without pages of its own
        return ""
