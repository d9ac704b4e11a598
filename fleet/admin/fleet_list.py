"""The list of fleets: the same health and order as on the first page, with what to do in each row."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.contrib.admin.views.main import ORDER_VAR
from django.db.models import Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from unfold.decorators import display
from unfold.views import ChangeList

from fleet.admin.archiving import ArchivedFilter
from fleet.pages import overview, words

ROWS: Final = 50


class ByTrouble(ChangeList):  # type: ignore[misc]
    """A page of the list; unless the reader sorts it, what needs somebody comes first."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        """The rows of this page, each with its card, in a fixed number of queries."""
        super().get_results(request)
        found = overview.overview(Q(pk__in=self.queryset.order_by().values("pk")))
        cards = {card.pk: card for card in found.cards}
        if ORDER_VAR in self.params:
            rows = {row.pk: row for row in self.result_list}
        else:
            whole = not self.multi_page or (self.show_all and self.can_show_all)
            begin = 0 if whole else ROWS * (self.page_num - 1)
            shown = list(cards)[begin : None if whole else begin + ROWS]
            found_rows = self.root_queryset.in_bulk(shown)
            rows = {pk: found_rows[pk] for pk in shown if pk in found_rows}
        for pk, row in rows.items():
            row.card = cards[pk]
            row.may_change = request.user.has_perm("fleet.change_fleet")
        self.result_list = list(rows.values())


def _in_row(template: str, fleet: Any, **more: Any) -> str:
    return render_to_string(f"fleet/list/{template}.html", {"fleet": fleet, **more})


class FleetList:
    """The columns of the list of fleets, and its filters."""

    list_display = (
        "health", "named", "pods_now", "waiting", "done", "price", "why", "verbs",
    )  # fmt: skip
    list_display_links = None
    list_filter: ClassVar[Sequence[Any]] = (ArchivedFilter, "mode")
    list_fullwidth = True
    list_before_template = "fleet/list/before.html"
    list_per_page = ROWS
    search_fields = ("name", "stream")

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[ByTrouble]:
        """The list by trouble."""
        return ByTrouble

    @display(description="Health")
    def health(self, fleet: Any) -> str:
        """How well it is: icon, word and colour."""
        return _in_row("health", fleet)

    @display(description="Fleet", ordering="name")
    def named(self, fleet: Any) -> str:
        """Its name, a link to its page; its mode if it is not running."""
        return _in_row("named", fleet)

    @display(description="Pods")
    def pods_now(self, fleet: Any) -> str:
        """How many pods may bill, of how many."""
        return f"{fleet.card.billable} of {fleet.card.max_instances}"

    @display(description="Waiting")
    def waiting(self, fleet: Any) -> str:
        """How many items wait."""
        depth = fleet.card.depth
        return "Unknown" if depth is None else words.items(depth)

    @display(description="Done")
    def done(self, fleet: Any) -> str:
        """When the backlog is empty at the present rate."""
        return _in_row("done", fleet, card=fleet.card)

    @display(description="$/h")
    def price(self, fleet: Any) -> str:
        """The price of all pods for an hour."""
        return words.usd(fleet.card.hourly_usd)

    @display(description="Why")
    def why(self, fleet: Any) -> str:
        """Why it is not well; what holds it, if it works; else why it has this many pods."""
        return _in_row("why", fleet, card=fleet.card)

    @display(description="What to do")
    def verbs(self, fleet: Any) -> str:
        """What an operator does most often."""
        return _in_row("verbs", fleet)
