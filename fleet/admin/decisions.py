"""Decisions in the admin: what was done and held, the same again and again in one line."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from unfold.decorators import display
from unfold.views import ChangeList

from fleet.decision.field_words import RULES
from fleet.decision.values import Rule
from fleet.models import Fleet, Tick
from fleet.pages import decision_lines
from pods.admin.base import ReadOnly
from pods.base import words
from pods.base.clock import utcnow

LONGEST_SNAPSHOT: Final = 20_000
READ: Final = 2000  # decisions that one page folds
LINES: Final = 50
TOLD: Final = Q(spawned__gt=0) | Q(retired__gt=0) | ~Q(binding="") | Q(depth=None)
BEFORE: Final = "before"
WITHIN: Final[Mapping[str, tuple[str, timedelta | None]]] = {
    "24h": ("the last 24 hours", timedelta(hours=24)),
    "1h": ("the last hour", timedelta(hours=1)),
    "7d": ("the last 7 days", timedelta(days=7)),
    "all": ("as long as they are kept", None),
}


class WithDefault(admin.SimpleListFilter):
    """A filter whose first choice holds until the reader chooses another."""

    first: str

    def choices(self, changelist: Any) -> Any:
        """The choices as the page shows them, the default first."""
        default, *others = super().choices(changelist)
        yield {**default, "display": self.first}
        yield from others


class KindFilter(WithDefault):
    """Leaves out the decisions that neither changed nor held anything."""

    title, parameter_name, first = "show", "show", "Changes and holds"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """The choices besides the default."""
        return [("changes", "Changes"), ("all", "Every decision")]

    def queryset(self, _request: HttpRequest, ticks: QuerySet[Tick]) -> QuerySet[Tick]:
        """The decisions of the choice."""
        if self.value() == "all":
            return ticks
        moved = Q(spawned__gt=0) | Q(retired__gt=0)
        return ticks.filter(moved if self.value() == "changes" else TOLD)


class WithinFilter(WithDefault):
    """How far back the list goes: a search through all decisions would read millions of rows."""

    title, parameter_name, first = "within", "within", WITHIN["24h"][0]

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """The choices besides the default."""
        return [(key, text) for key, (text, _) in WITHIN.items() if key != "24h"]

    def queryset(self, _request: HttpRequest, ticks: QuerySet[Tick]) -> QuerySet[Tick]:
        """The decisions of the choice."""
        _, time = WITHIN.get(self.value() or "24h", WITHIN["24h"])
        return ticks if time is None else ticks.filter(at__gte=utcnow() - time)


class RuleFilter(admin.SimpleListFilter):
    """The rule that held the fleet, without asking all rows which ones there are."""

    title, parameter_name = "held by", "binding"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """All rules that can hold a fleet."""
        wishes = {Rule.DEMAND, Rule.MIN_INSTANCES, Rule.OVERRIDE, Rule.UNKNOWN}
        return [(rule.value, text) for rule, text in RULES.items() if rule not in wishes]

    def queryset(self, _request: HttpRequest, ticks: QuerySet[Tick]) -> QuerySet[Tick]:
        """The decisions of the choice."""
        return ticks.filter(binding=self.value()) if self.value() else ticks


class Before(admin.SimpleListFilter):
    """Where an older page begins; it has no choices, so it is not shown."""

    title, parameter_name = BEFORE, BEFORE

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """None."""
        return []

    def queryset(self, _request: HttpRequest, ticks: QuerySet[Tick]) -> QuerySet[Tick]:
        """All: the list itself begins there."""
        return ticks


class DecisionList(ChangeList):  # type: ignore[misc]
    """One page of folded decisions: four queries, whatever there is."""

    older = ""  # the address of the next page
    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        """Read some thousand rows, fold them, and fetch the newest of each line."""
        ticks = self._from(request.GET.get(BEFORE, ""))
        read = [
            decision_lines.row(values)
            for values in ticks.order_by("-at", "-pk").values_list(*decision_lines.COLUMNS)[
                : READ + 1
            ]
        ]
        found = decision_lines.folded(
            read[:READ], _periods({r.fleet_id for r in read}), most=LINES, cut_off=len(read) > READ
        )
        shown = [line.newest.pk for line in found.lines]
        by_pk = Tick.objects.select_related("fleet").defer("snapshot").in_bulk(shown)
        self.result_list = []
        for line in found.lines:
            if (tick := by_pk.get(line.newest.pk)) is not None:
                tick.line = line  # type: ignore[attr-defined]
                self.result_list.append(tick)
        if found.more and found.last is not None:
            self.older = self.get_query_string({BEFORE: str(found.last.pk)})
        self.paginator = Paginator(self.result_list, LINES)
        self.result_count = sum(line.count for line in found.lines)
        self.full_result_count = self.result_count
        self.can_show_all, self.multi_page, self.show_full_result_count = False, False, False

    def _from(self, before: str) -> QuerySet[Tick]:
        """The decisions from the one on that the page before ended with."""
        ticks: QuerySet[Tick] = self.queryset
        if not (before.isascii() and before.isdigit() and len(before) < 19):
            return ticks
        last = Tick.objects.filter(pk=int(before)).values_list("at", flat=True).first()
        if last is None:
            return ticks
        return ticks.filter(Q(at__lt=last) | Q(at=last, pk__lt=int(before)))


def _periods(fleets: set[int]) -> Mapping[int, timedelta]:
    rows = Fleet.objects.filter(pk__in=fleets).select_related("schedule__interval")
    return {fleet.pk: fleet.tick_period for fleet in rows}


@admin.register(Tick)
class TickAdmin(ReadOnly):
    """Every decision: the facts, the wish, and the rules that changed it."""

    nothing = (
        "No decision in this time. At each tick a running fleet decides how many pods it needs."
    )
    list_display: Sequence[str] = (
        "when", "fleet_link", "waiting", "pods", "wanted", "allowed", "held_by", "why",
    )  # fmt: skip
    list_display_links = ("when",)
    list_filter: ClassVar[Sequence[Any]] = (KindFilter, WithinFilter, "fleet", RuleFilter, Before)
    list_filter_submit = False
    list_after_template = "fleet/decisions/older.html"
    list_fullwidth = True
    search_fields = ("sentence",)
    sortable_by = ()
    ordering = ("-at",)
    show_full_result_count = False

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[DecisionList]:
        """The folded list."""
        return DecisionList

    def get_list_display(self, request: HttpRequest) -> Sequence[str]:
        """The columns; without the fleet's name in a list of one fleet."""
        if "fleet__id__exact" not in request.GET:
            return self.list_display
        return [name for name in self.list_display if name != "fleet_link"]

    @display(description="When")
    def when(self, tick: Any) -> str:
        """When it was decided last, and for how long it has been the same."""
        return render_to_string("fleet/decisions/when.html", {"tick": tick, "line": tick.line})

    @display(description="Fleet")
    def fleet_link(self, tick: Tick) -> str:
        """The name of the fleet."""
        return tick.fleet.name

    @display(description="Waiting")
    def waiting(self, tick: Tick) -> str:
        """How many items waited."""
        return "Unknown" if tick.depth is None else words.items(tick.depth)

    @display(description="Pods")
    def pods(self, tick: Tick) -> str:
        """The pods that worked or would work, and what the decision did to them."""
        moves = (f" {sign}{n}" for sign, n in (("+", tick.spawned), ("−", tick.retired)) if n)
        return f"{tick.active}{''.join(moves)}"

    @display(description="Wanted")
    def wanted(self, tick: Tick) -> str:
        """How many pods the backlog was worth."""
        return words.items(decision_lines.wanted(tick))

    @display(description="Allowed")
    def allowed(self, tick: Tick) -> str:
        """How many pods the limits allowed."""
        return words.items(tick.target)

    @display(description="Held by")
    def held_by(self, tick: Tick) -> str:
        """The rule that kept pods away, with a link to what lifts it."""
        return render_to_string("fleet/decisions/held_by.html", {"tick": tick})

    @display(description="Why")
    def why(self, tick: Tick) -> str:
        """What the rule said; what the decision did, if it did something."""
        moved = tick.spawned or tick.retired
        said = tick.sentence if moved else tick.held_back or tick.trouble or tick.sentence
        return render_to_string("fleet/decisions/why.html", {"text": said})

    def change_view(
        self, request: HttpRequest, object_id: str, _form_url: str = "", _context: Any = None
    ) -> HttpResponse:
        """The page of a decision."""
        tick = self.get_object(request, object_id)
        if tick is None:
            raise Http404("this decision does not exist; old ones are deleted after some days")
        if not self.has_view_permission(request, tick):
            raise PermissionDenied
        near = Tick.objects.filter(fleet=tick.fleet_id).only("pk", "at")
        context = {
            **self.admin_site.each_context(request),
            "title": decision_lines.headline(tick),
            "opts": self.opts,
            "original": tick,
            "tick": tick,
            "headline": decision_lines.headline(tick),
            "wanted": decision_lines.wanted(tick),
            "oldest": None
            if tick.oldest_seconds is None
            else timedelta(seconds=tick.oldest_seconds),
            "snapshot": json.dumps(tick.snapshot, indent=1)[:LONGEST_SNAPSHOT],
            "earlier": near.filter(at__lt=tick.at).order_by("-at").first(),
            "later": near.filter(at__gt=tick.at).order_by("at").first(),
        }
        return TemplateResponse(request, "fleet/decisions/page.html", context)
