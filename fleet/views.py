"""The pages of operators besides the lists: fleets, charts, buttons, preview of a tick, money."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timezone import get_current_timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from fleet import operating, stopping
from fleet.alerts import answering
from fleet.decision.values import Mode
from fleet.models import Alert, Fleet, Limits
from fleet.pages import chart_facts, first_fleet, listing, renewal, searching, tabs, top
from fleet.pages import charts as drawn
from fleet.pages import money as spent_pages
from fleet.pages.listing import Wanted
from fleet.pages.renewal import FirstPage
from fleet.tick import ticking
from pods.base.clock import utcnow
from pods.base.commands import error_lines
from pods.models import Pod

PODS_NAMED: Final = 200


def _renewed(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Protect a part that refreshes itself; after a logout the browser reloads the page to log in."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        user = request.user
        if not (user.is_active and user.is_staff and user.has_perm("fleet.view_fleet")):
            return HttpResponse(status=403, headers={"HX-Refresh": "true"})
        return view(request)

    return answer


def dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The context of the admin's first page, for users who may see fleets."""
    if request.user.has_perm("fleet.view_fleet"):
        page = _asked(request)
        top.remember(request, page.found.limits, fleets=bool(page.found.cards))
        context.update(_fleets_shown(request, page))
    return context


def _fleets_shown(request: HttpRequest, page: FirstPage) -> dict[str, Any]:
    """All fleets, and those of one page."""
    rows, stamp = page.rows(request.user)
    return {
        "overview": page.found,
        "listed": page.listed,
        "rows": rows,
        "guide": page.guide,
        "stamp": stamp,
        "sections": [("", "All"), *((s.value, word) for s, word in listing.SECTIONS.items())],
    }


def _asked(request: HttpRequest) -> FirstPage:
    """The first page as this address asks for it."""
    asked = (request.GET.get(name, "") for name in ("show", "q", "page"))
    return renewal.first_page(Wanted.asked(*asked))


def open_alerts(request: HttpRequest) -> str:
    """The number of alerts that nobody has answered, for the menu; "" if there is none."""
    return str(top.loud_alerts(request) or "")


@require_GET
@_renewed
def now(request: HttpRequest) -> HttpResponse:
    """The part of the first page that refreshes itself; 204 if the reader has seen just this."""
    page = _asked(request)
    if page.is_as_seen(request.GET.get("seen", ""), request.user):
        return HttpResponse(status=204)
    return render(request, "fleet/dashboard_now.html", _fleets_shown(request, page))


@require_POST
@permission_required(("fleet.add_fleet", "pods.add_account"), raise_exception=True)
def try_here(_request: HttpRequest) -> HttpResponse:
    """Make the free account of this machine, and show the form of a first fleet with an example."""
    return redirect(first_fleet.example_url(operating.local_account().pk))


@require_GET
def chart(request: HttpRequest) -> HttpResponse:
    """The charts: a part of the first page, and a page of its own for who has no JavaScript."""
    return _chart_part(request) if "part" in request.GET else _chart_page(request)


@_renewed
def _chart_part(request: HttpRequest) -> HttpResponse:
    return render(request, "fleet/charts.html", _charts_shown(request))


@admin.site.admin_view
@permission_required("fleet.view_fleet", raise_exception=True)
def _chart_page(request: HttpRequest) -> HttpResponse:
    shown = _charts_shown(request)
    context = {**admin.site.each_context(request), "title": "Charts", **shown}
    return render(request, "fleet/charts_page.html", context)


def _charts_shown(request: HttpRequest) -> dict[str, Any]:
    """The charts that an address asks for, of all fleets or of one."""
    stretch, asked = request.GET.get("stretch", "1h"), request.GET.get("fleet", "")
    if stretch not in chart_facts.STRETCHES:
        raise Http404(f"give stretch as one of {', '.join(chart_facts.STRETCHES)}")
    names = dict(Fleet.objects.filter(archived_at=None).order_by("name").values_list("pk", "name"))
    fleet = next((pk for pk in names if str(pk) == asked), None)
    if asked and fleet is None:
        raise Http404("give fleet as the id of a fleet")
    found = chart_facts.facts(chart_facts.STRETCHES[stretch], fleet=fleet, now=utcnow())
    query = urlencode({"part": 1, "stretch": stretch, "fleet": asked})
    return {
        "charts": drawn.charts(found, get_current_timezone()),
        "stretches": chart_facts.STRETCHES,
        "stretch": stretch,
        "fleets": names.items(),
        "fleet": fleet,
        "again": f"{reverse('dashboard-chart')}?{query}",
    }


@require_POST
@permission_required("fleet.change_fleet", raise_exception=True)
def set_mode(request: HttpRequest, fleet_id: int) -> HttpResponse:
    """Pause a fleet, or let it run. STOP ALL has its own page, which names the pods to destroy."""
    fleet = get_object_or_404(Fleet, pk=fleet_id)
    wanted = request.POST.get("mode", "")
    if wanted not in {Mode.PAUSED.value, Mode.RUNNING.value}:
        raise Http404("give mode as paused or running")
    try:
        operating.set_mode(fleet, Mode(wanted), by=request.user.get_username())
        messages.success(request, f"{fleet.name}: {wanted} from the next tick")
        if wanted == Mode.RUNNING.value and Limits.get().stopped:
            messages.warning(
                request, "Everything is stopped, so it starts no pod until that is undone"
            )
    except operating.EditedMeanwhile as exc:
        messages.error(request, f"{fleet.name}: {exc}")
    except ValidationError as exc:
        messages.error(request, f"{fleet.name}: {'; '.join(error_lines(exc, Fleet))}")
    return redirect(_next(request))


def _next(request: HttpRequest) -> str:
    """The page that the button was on, if it says so and is one of ours; else the first page."""
    asked = request.GET.get("next", "")
    ours = url_has_allowed_host_and_scheme(
        asked, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return asked if ours else reverse("admin:index")


@require_http_methods(["GET", "POST"])
@permission_required("fleet.change_fleet", raise_exception=True)
def stop_everything(request: HttpRequest) -> HttpResponse:
    """Show what would be ended and ask; then stop everything, or undo that."""
    if request.method == "POST":
        _stop_or_undo(request)
        return redirect("admin:index")
    limits, reach = Limits.get(), stopping.reach()
    pods = Pod.objects.billable().select_related("fleet").order_by("fleet__name", "-hourly_usd")
    context = {
        **admin.site.each_context(request),
        "title": "Everything is stopped" if limits.stopped else "Stop everything",
        "limits": limits,
        "reach": reach,
        "modes": Fleet.objects.filter(archived_at=None)
        .order_by()
        .values_list("mode")
        .annotate(count=Count("pk")),
        "pods": pods[:PODS_NAMED],
        "more": max(0, reach.pods - PODS_NAMED),
    }
    return render(request, "fleet/stop_everything.html", context)


def _stop_or_undo(request: HttpRequest) -> None:
    by = request.user.get_username()
    if request.POST.get("verb") == "stop":
        done = stopping.stop_everything(by=by)
        text = "no pod starts, and every pod is ended, from the next tick of each fleet"
        messages.success(request, f"Everything is stopped{'' if done else ' already'}: {text}")
        return
    limits = Limits.get()
    if request.POST.get("version") != str(limits.version):
        messages.error(request, "Somebody else changed this meanwhile. Look again, then undo.")
        return
    try:
        mode = stopping.undo_stop(limits, by=by)
    except (operating.EditedMeanwhile, ValidationError) as exc:
        messages.error(request, "; ".join(getattr(exc, "messages", [str(exc)])))
    else:
        messages.success(request, f"The stop is undone: the installation is {mode.value} again")


@require_POST
@permission_required("fleet.acknowledge_alert", raise_exception=True)
def acknowledge(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Silence an alert until its cause ends."""
    alert = get_object_or_404(Alert, pk=alert_id)
    if answering.acknowledge([alert], by=request.user.get_username()):
        messages.success(request, f"acknowledged: {alert.text}")
    return redirect("admin:index")


@require_GET
@permission_required("fleet.view_fleet", raise_exception=True)
def next_tick(request: HttpRequest, fleet_id: int) -> HttpResponse:
    """Show what the next tick would do; change nothing. With `part` only that, for the fleet's page."""
    fleet = get_object_or_404(Fleet, pk=fleet_id)
    decision = ticking.preview(fleet)
    leaving = [each.pod_id for each in decision.retire]
    names = dict(Pod.objects.filter(pk__in=leaving).values_list("pk", "name"))
    reasons: dict[str, list[tuple[int, str]]] = {}
    for each in decision.retire:
        named = (each.pod_id, names.get(each.pod_id, str(each.pod_id)))
        reasons.setdefault(each.because, []).append(named)
    shown = {
        "fleet": fleet,
        "decision": decision,
        "retire": list(reasons.items()),
    }
    if "part" in request.GET:
        return render(request, "fleet/next_tick_part.html", shown)
    context = {
        **admin.site.each_context(request),
        "title": f"Preview of the next tick of {fleet.name}",
        "opts": Fleet._meta,
        **shown,
    }
    return render(request, "fleet/next_tick.html", context)


@require_GET
def find(request: HttpRequest) -> HttpResponse:
    """Search fleets, pods, alerts and settings, among what the user may see."""
    text = request.GET.get("q", "").strip()[: searching.LONGEST]
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "text": text,
        "found": searching.search(text, request.user),
    }
    return render(request, "fleet/search.html", context)


@require_GET
@permission_required("fleet.view_fleet", raise_exception=True)
def money(request: HttpRequest) -> HttpResponseBase:
    """Show the spending by fleet, provider, GPU type and day; also as CSV or JSON."""
    try:
        days = int(request.GET.get("days", "7"))
    except ValueError as exc:
        raise Http404("give days as a number") from exc
    fleet = None
    if "fleet" in request.GET:
        shown = tabs.tabs(request)
        if shown is None:
            raise Http404("no fleet has this id")
        fleet = Fleet.objects.get(pk=shown.fleet.pk)
    found = spent_pages.spending(min(max(days, 1), spent_pages.MOST_DAYS), fleet)
    wanted = request.GET.get("format", "")
    if wanted == "json":
        return JsonResponse(found.as_json())
    if wanted == "csv":
        headers = {"Content-Disposition": 'attachment; filename="spent.csv"'}
        return StreamingHttpResponse(found.as_csv(), content_type="text/csv", headers=headers)
    context = {
        **admin.site.each_context(request),
        "title": "Spending",
        "found": found,
        "choices": spent_pages.CHOICES,
        "of_fleet": "" if fleet is None else f"fleet={fleet.pk}&",
    }
    if fleet is not None:
        context["opts"] = Fleet._meta
    return render(request, "fleet/money.html", context)
