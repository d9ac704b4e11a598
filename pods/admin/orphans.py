"""Unknown machines in the admin: those of ours that bill and belong to no pod."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_POST
from unfold.decorators import display

from pods import orphans
from pods.admin.base import ReadOnly
from pods.base import moments, words
from pods.base.clock import utcnow
from pods.models import Account, Orphan, Pod

# Machines are compared every 30 s; a vendor that does not answer for so long is worth a word.
LATE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """When the machines of all enabled accounts were last compared with the rows."""

    at: datetime | None  # of the account that was compared the longest ago; None: there is none
    late: Sequence[Account]  # those of which it is not known now

    @property
    def known(self) -> bool:
        """Whether every account was compared lately."""
        return self.at is not None and not self.late


def checked(accounts: Sequence[Account], now: datetime) -> Checked:
    """What is known of these accounts."""
    times = [a.reconciled_at for a in accounts if a.reconciled_at is not None]
    late = [a for a in accounts if a.reconciled_at is None or now - a.reconciled_at > LATE]
    return Checked(at=min(times, default=None), late=late)


class PresentFilter(admin.SimpleListFilter):
    """Shows the machines that bill now; the others are history."""

    title = "which machines"
    parameter_name = "is"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """The choices besides the default."""
        return [("handled", "Handled"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        """All choices; the default is the machines that bill now."""
        first, *others = super().choices(changelist)
        yield {**first, "display": "Unknown now"}
        yield from others

    def queryset(self, _request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The machines of the choice."""
        if self.value() == "all":
            return rows
        return rows.filter(gone_at__isnull=self.value() != "handled")


@admin.register(Orphan)
class OrphanAdmin(ReadOnly):
    """The list of our machines without a row."""

    list_display = ("machine", "account", "of_fleet", "price", "since", "state")
    list_display_links = None
    list_filter = (PresentFilter, "account")
    list_fullwidth = True
    list_select_related = ("account",)
    ordering = ("-first_seen_at",)
    search_fields = ("external_id", "name")
    show_full_result_count = False
    list_before_template = "admin/pods/orphan/checked.html"
    nothing = "A machine of yours that bills and belongs to no pod would be here."
    elsewhere = ("?is=all", "Also the handled ones")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The machines, with the name of the fleet that each was made for."""
        its = Pod.objects.filter(fleet_id=OuterRef("fleet_id")).order_by("pk")
        rows: QuerySet[Any] = super().get_queryset(request)
        named: QuerySet[Any] = rows.annotate(fleet_name=Subquery(its.values("fleet__name")[:1]))
        return named

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        """The columns; the buttons only for who may press them."""
        shown = super().get_list_display(request)
        return [*shown, "decisions"] if self.has_operate_permission(request) else shown

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list, with a sentence that says whether it is whole."""
        accounts = list(Account.objects.filter(enabled=True).defer("offers").order_by("name"))
        context = {
            **(extra_context or {}),
            "checked": checked(accounts, utcnow()),
            "unknown": Orphan.objects.filter(gone_at=None).count(),
        }
        answer: HttpResponse = super().changelist_view(request, context)
        return answer

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may have machines adopted and destroyed."""
        return request.user.has_perm("pods.change_pod")

    @display(description="Machine", ordering="external_id")
    def machine(self, orphan: Orphan) -> str:
        """Its id at the vendor, and its name."""
        return format_html(
            '<span class="pf-cell"><strong>{}</strong> '
            '<span class="pf-dim pf-pod-name">{}</span></span>',
            orphan.external_id, orphan.name,
        )  # fmt: skip

    @display(description="Fleet", ordering="fleet_id")
    def of_fleet(self, orphan: Any) -> str:
        """The fleet that it was made for, as its name says."""
        if orphan.fleet_name:
            return str(orphan.fleet_name)
        return words.NONE if orphan.fleet_id is None else "no pod of its fleet is here"

    @display(description="$/h", ordering="hourly_usd")
    def price(self, orphan: Orphan) -> str:
        """What it bills."""
        return words.usd(orphan.hourly_usd)

    @display(description="Since", ordering="first_seen_at")
    def since(self, orphan: Orphan) -> str:
        """When it was first seen without a row."""
        return moments.shown(orphan.first_seen_at)

    @display(description="State")
    def state(self, orphan: Orphan) -> str:
        """What becomes of it, and who decided that."""
        shown = orphans.shown(orphan)
        return format_html(
            '<span class="pf-cell"><span class="pf-health pf-{}"><span aria-hidden="true">{}</span> {}'
            '</span> <span class="pf-dim">{}</span></span>',
            shown.tone, shown.icon, shown.word, shown.more,
        )  # fmt: skip

    @display(description="Decide")
    def decisions(self, orphan: Any) -> str:
        """The buttons of one machine. They send the form of the list to addresses of their own."""
        if orphan.gone_at is not None:
            return words.NONE
        return render_to_string("admin/pods/orphan/decisions.html", {"orphan": orphan})

    def get_urls(self) -> list[Any]:
        """The addresses, with those of the buttons."""
        page = self.admin_site.admin_view
        return [
            path(
                f"<int:orphan_id>/{wish.value}/",
                page(require_POST(self._deciding(wish))),
                name=f"pods_orphan_{wish.value}",
            )
            for wish in Account.Orphans
        ] + list(super().get_urls())

    def _deciding(self, wish: Account.Orphans) -> Any:
        def view(request: HttpRequest, orphan_id: int) -> HttpResponse:
            return self.decide(request, orphan_id, wish)

        return view

    def decide(self, request: HttpRequest, orphan_id: int, wish: Account.Orphans) -> HttpResponse:
        """Have a machine adopted; or destroyed, after the operator has confirmed it."""
        if not self.has_operate_permission(request):
            return HttpResponse("only operators decide about unknown machines", status=403)
        orphan = self.get_queryset(request).select_related("account").filter(pk=orphan_id).first()
        if orphan is None:
            raise Http404(f"no unknown machine has the id {orphan_id}")
        if wish == Account.Orphans.DESTROY and not request.POST.get("confirmed"):
            context = {
                **self.admin_site.each_context(request),
                "title": f"Destroy {orphan.external_id}",
                "opts": self.opts,
                "orphan": orphan,
            }
            return TemplateResponse(request, "admin/pods/orphan/confirm_destroy.html", context)
        by = f"admin:{request.user.get_username()}"
        if orphans.decide(orphan.pk, wish, by=by):
            messages.success(request, f"{orphan.external_id} is {orphans.WISHES[wish]}")
        else:
            messages.warning(request, f"{orphan.external_id} has a row by now, or is gone")
        return redirect(reverse("admin:pods_orphan_changelist"))
