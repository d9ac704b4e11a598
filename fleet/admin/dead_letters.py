"""The page of a fleet's dead letters: what failed and why, with buttons to try again and to delete."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from redis import RedisError

from fleet import letters
from fleet.items.dead_letters import Letter
from fleet.letters import Handled, LetterVerb
from fleet.models import Fleet
from pods.plural import plural

PAGE: Final = 25
FIRST: Final = "0-0"
ENTRY: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}\Z")
# A request that puts many letters back ends after this time, well before a proxy gives up on it.
LONGEST_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One page of letters."""

    letters: Sequence[Letter]
    count: int  # of all
    after: str  # the id before the first one of this page
    next: str  # the id after which the next page begins; "": this is the last page


class DeadLettersPage:
    """Adds the page of dead letters to the admin of fleets."""

    admin_site: admin.AdminSite

    def get_urls(self) -> list[Any]:
        """The addresses, with the page of dead letters."""
        page = self.admin_site.admin_view(self.dead_letters)
        urls: list[Any] = super().get_urls()  # type: ignore[misc]
        return [path("<int:fleet_id>/dead/", page, name="fleet_fleet_dead"), *urls]

    def dead_letters(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """Show a page of dead letters; put the chosen ones or all back, or delete them."""
        fleet = Fleet.objects.filter(pk=fleet_id).first()
        if fleet is None or not request.user.has_perm("fleet.view_fleet"):
            raise Http404(f"no fleet has the id {fleet_id}")
        if request.method == "POST":
            return self._act(request, fleet)
        after = request.GET.get("after", FIRST)
        shown, problem = None, ""
        try:
            shown = _page(fleet, after if ENTRY.match(after) else FIRST)
        except ValidationError as exc:
            problem = "; ".join(exc.messages)
        except RedisError as exc:
            problem = f"Redis does not answer: {exc}"
        return self._answer(request, fleet, "dead_letters.html", shown=shown, problem=problem)

    def _act(self, request: HttpRequest, fleet: Fleet) -> HttpResponse:
        here = redirect(reverse("admin:fleet_fleet_dead", args=[fleet.pk]))
        if not request.user.has_perm("fleet.change_fleet"):
            return HttpResponse("only operators act on dead letters", status=403)
        verb = request.POST.get("verb", "")
        chosen = [entry for entry in request.POST.getlist("letter") if ENTRY.match(entry)]
        every = request.POST.get("which") == "all"
        if verb not in set(LetterVerb) or not (chosen or every):
            messages.warning(request, "nothing is chosen; tick at least one item")
            return here
        if verb == LetterVerb.DROP and not request.POST.get("confirmed"):
            return self._ask(request, fleet, None if every else chosen)
        return self._handle(request, fleet, LetterVerb(verb), None if every else chosen, here)

    def _ask(
        self, request: HttpRequest, fleet: Fleet, chosen: Sequence[str] | None
    ) -> HttpResponse:
        try:
            count = letters.of_fleet(fleet).count() if chosen is None else len(chosen)
        except RedisError as exc:
            messages.error(request, f"Redis does not answer: {exc}")
            return redirect(reverse("admin:fleet_fleet_dead", args=[fleet.pk]))
        return self._answer(
            request,
            fleet,
            "confirm_drop.html",
            chosen=chosen or [],
            every=chosen is None,
            count=count,
        )

    def _handle(
        self,
        request: HttpRequest,
        fleet: Fleet,
        verb: LetterVerb,
        chosen: Sequence[str] | None,
        here: HttpResponseRedirect,
    ) -> HttpResponse:
        end = time.monotonic() + LONGEST_SECONDS
        try:
            done = letters.handle(
                fleet,
                verb,
                chosen,
                by=request.user.get_username(),
                enough=lambda: time.monotonic() > end,
            )
        except ValidationError as exc:
            messages.error(request, "; ".join(exc.messages))
        except RedisError as exc:
            messages.error(request, f"Redis does not answer, so some may be left: {exc}")
        else:
            _tell(request, fleet, verb, chosen, done)
        return here

    def _answer(
        self, request: HttpRequest, fleet: Fleet, template: str, **more: Any
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Dead letters of {fleet.name}",
            "opts": Fleet._meta,
            "fleet": fleet,
            "page_size": PAGE,
            "may_act": request.user.has_perm("fleet.change_fleet"),
            **more,
        }
        return TemplateResponse(request, f"admin/fleet/fleet/{template}", context)


def _page(fleet: Fleet, after: str) -> Shown:
    """The letters after one id.

    Raises:
        ValidationError: the fleet's backlog has no dead letters.
        RedisError: the server does not answer.
    """
    dead = letters.of_fleet(fleet)
    found = dead.after(after, PAGE + 1)
    last = found[PAGE - 1].letter if len(found) > PAGE else ""
    return Shown(letters=found[:PAGE], count=dead.count(), after=after, next=last)


def _tell(
    request: HttpRequest,
    fleet: Fleet,
    verb: LetterVerb,
    chosen: Sequence[str] | None,
    done: Handled,
) -> None:
    did = f"put back onto {fleet.stream}" if verb is LetterVerb.RETRY else "deleted"
    text = f"{plural(done.count, 'item')} {did}; {done.left:,} left"
    if chosen is None and done.left:
        text += ". Press the button again for the others"
    messages.success(request, text)
    if done.missing:
        messages.warning(
            request,
            f"{', '.join(done.missing)}: not here any more; somebody put it back or deleted it",
        )
