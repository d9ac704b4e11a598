"""The page of a fleet's code: what it has for all, a file and the way back for operators."""

from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from fleet import keeping_code
from fleet.admin import fleet_page
from fleet.code import leaving_out, uploads
from fleet.code.dependencies import BadCode
from fleet.code.packing import LARGEST_BYTES, megabytes, too_large
from fleet.models import Fleet
from fleet.operating import EditedMeanwhile
from pods.base.commands import error_lines

MOST_SHOWN: Final = 200  # files of the code
LONGEST_HANDLER: Final = 200


class CodePage:
    """Adds the page of a fleet's code to the admin of fleets. No page shows what is in a file."""

    admin_site: admin.AdminSite

    def get_urls(self) -> list[Any]:
        """The addresses, with this page."""
        view = self.admin_site.admin_view(self.code_page)
        return [
            path("<int:fleet_id>/code/", view, name="fleet_fleet_code"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def code_page(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """Show the code; take another one, or go back to the one before."""
        _, context = fleet_page.of_one(self.admin_site, request, fleet_id)
        fleet, wrong = context["fleet"], ""
        if request.method == "POST":
            if not context["may_change"]:
                return HttpResponse("only operators change code", status=403)
            wrong = _act(request, fleet)
            if not wrong:
                return redirect(reverse("admin:fleet_fleet_code", args=[fleet.pk]))
            fleet = Fleet.objects.get(pk=fleet.pk)
        there = keeping_code.described(fleet)
        context |= {
            "title": "Code",
            "present": keeping_code.current(fleet),
            "in_use": keeping_code.in_use_since(fleet) if fleet.code_number else None,
            "before": keeping_code.before_present(fleet),
            "versions": keeping_code.versions(fleet),
            "there": there,
            "files": there.files[:MOST_SHOWN],
            "more": max(0, len(there.files) - MOST_SHOWN),
            "number": fleet.code_number,
            "most": megabytes(LARGEST_BYTES),
            "may_act": context["may_change"] and fleet.archived_at is None,
            "wrong": wrong,
            "handler": request.POST.get("handler", "") if wrong else "",
        }
        return TemplateResponse(request, "admin/fleet/fleet/code.html", context)


def _act(request: HttpRequest, fleet: Fleet) -> str:
    """Do what a form asks for; why it was refused, or ""."""
    if request.POST.get("number") != str(fleet.code_number):
        return (
            "somebody else changed the code since this page was shown; look at it, then try again"
        )
    by = request.user.get_username()
    try:
        if request.POST.get("verb") == "rollback":
            code = keeping_code.rollback(fleet, by=by)
            messages.success(
                request,
                f"back to code version {code.number} from {code.source}; pods with other code are "
                "replaced",
            )
        else:
            _take(request, fleet, by=by)
    except ValidationError as exc:
        return "; ".join(error_lines(exc, Fleet))
    except (BadCode, EditedMeanwhile) as exc:
        return f"{exc}; nothing was changed"
    return ""


def _take(request: HttpRequest, fleet: Fleet, *, by: str) -> None:
    """Give the fleet the code of the form.

    Raises:
        BadCode: it cannot work.
    """
    sent: Any = request.FILES.get("file")
    if sent is None:
        raise BadCode("choose a file: .py, .zip or .tar.gz")
    if sent.size > LARGEST_BYTES:
        raise BadCode(f"{sent.name} has {megabytes(sent.size)}; {too_large()}")
    handler = request.POST.get("handler", "").strip()[:LONGEST_HANDLER]
    packed = uploads.packed_of(sent.read(), name=sent.name, handler=handler, present=fleet.handler)
    before = fleet.code_number
    published = keeping_code.set_code(fleet, packed, {}, by=by)
    if fleet.code_number == before:
        messages.info(request, f"the code is the same as before (version {before})")
        return
    text = (
        f"code version {fleet.code_number} from {packed.source}, handler {packed.handler}; pods with "
        "other code are replaced when the first pod with this code works"
    )
    if packed.left_out:
        text += f". Left out of it: {leaving_out.named(packed.left_out)}"
    messages.success(request, text)
    if not published:
        messages.warning(request, "Redis does not answer; the next tick publishes the code")
