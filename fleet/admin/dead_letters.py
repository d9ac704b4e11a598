"""The pages of a fleet's failed items, by error and one by one, with buttons to retry and delete."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from redis import RedisError

from fleet import letters
from fleet.items import letter_lines
from fleet.items.dead_letters import Letter
from fleet.items.failures import FailureGroup, key_of
from fleet.letters import Handled, LetterVerb, Reasons
from fleet.models import Fleet
from fleet.pages.failed_items import unanswered
from pods.agent import protocol
from pods.plural import plural

PAGE: Final = 25
GROUPS: Final = 25
SOME: Final = 20  # as many items show whether a corrected handler works
FIRST: Final = "0-0"
ENTRY: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}\Z")
KEY: Final = re.compile(r"[0-9a-f]{12}\Z")
# A request that puts many letters back ends after this time, well before a proxy gives up on it.
LONGEST_SECONDS: Final = 10.0
UNREAD: Final = (RedisError, ValueError, ValidationError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One page of letters."""

    letters: Sequence[Letter]
    count: int  # of all
    after: str  # the id before the first one of this page
    next: str  # the id after which the next page begins; "": this is the last page


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an operator chose: all letters, some by their ids, or those of one error."""

    every: bool = False
    letters: Sequence[str] = ()
    key: str = ""
    until: str = ""  # of one error: the newest letter that the operator has seen
    most: int | None = None  # of one error; None: all

    @classmethod
    def of(cls, request: HttpRequest) -> "Choice | None":
        """The choice that a form sent; None: nothing is chosen."""
        sent, which = request.POST, request.POST.get("which", "")
        key, until = sent.get("same", ""), sent.get("until", "")
        named = [entry for entry in sent.getlist("letter") if ENTRY.match(entry)]
        if which == "all":
            return cls(every=True)
        if which in {"some", "same"} and KEY.match(key) and ENTRY.match(until):
            return cls(key=key, until=until, most=SOME if which == "some" else None)
        return cls(letters=named) if named else None


class DeadLettersPage:
    """Adds the pages of failed items to the admin of fleets."""

    admin_site: admin.AdminSite

    def get_urls(self) -> list[Any]:
        """The addresses, with those of the failed items."""
        page = self.admin_site.admin_view
        urls: list[Any] = super().get_urls()  # type: ignore[misc]
        return [
            path("<int:fleet_id>/dead/", page(self.dead_letters), name="fleet_fleet_dead"),
            path("<int:fleet_id>/dead/each/", page(self.each_letter), name="fleet_fleet_dead_each"),
            path("<int:fleet_id>/dead/download/", page(self.download), name="fleet_fleet_dead_file"),
            *urls,
        ]  # fmt: skip

    def dead_letters(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """Show why items failed; put the chosen ones or all back, or delete them."""
        fleet = _fleet(request, fleet_id)
        if request.method == "POST":
            return self._act(request, fleet)
        reasons: Reasons | None = None
        groups: Sequence[tuple[FailureGroup, Letter | None]] = ()
        problem = ""
        try:
            reasons = letters.reasons(fleet)
            groups = _with_examples(fleet, reasons)
        except UNREAD as exc:
            problem = unanswered(exc)
        return self._answer(
            request, fleet, "dead_letters.html",
            reasons=reasons, groups=groups, problem=problem,
            more=len(reasons.groups) - len(groups) if reasons else 0,
        )  # fmt: skip

    def each_letter(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """Show a page of failed items, the oldest first."""
        fleet = _fleet(request, fleet_id)
        after = request.GET.get("after", FIRST)
        shown, problem = None, ""
        try:
            shown = _page(fleet, after if ENTRY.match(after) else FIRST)
        except UNREAD as exc:
            problem = unanswered(exc)
        return self._answer(request, fleet, "each_dead_letter.html", shown=shown, problem=problem)

    def download(self, request: HttpRequest, fleet_id: int) -> HttpResponseBase:
        """The failed items as lines of JSON; `same`: only those of one error.

        Items may hold secrets of the fleet's users, so only operators get them whole.
        """
        fleet = _fleet(request, fleet_id)
        if not request.user.has_perm("fleet.change_fleet"):
            return HttpResponse("only operators download failed items", status=403)
        lines = _lines(fleet, request.GET.get("same", ""))
        try:
            first = next(lines, b"")
        except UNREAD as exc:
            messages.error(request, unanswered(exc))
            return redirect(reverse("admin:fleet_fleet_dead", args=[fleet.pk]))
        headers = {"Content-Disposition": f'attachment; filename="{fleet.name}-failed.jsonl"'}
        return StreamingHttpResponse(
            chain([first], lines), content_type="application/x-ndjson", headers=headers
        )

    def _act(self, request: HttpRequest, fleet: Fleet) -> HttpResponse:
        here = _back(request, fleet)
        if not request.user.has_perm("fleet.change_fleet"):
            return HttpResponse("only operators act on dead letters", status=403)
        verb, choice = request.POST.get("verb", ""), Choice.of(request)
        if verb not in set(LetterVerb) or choice is None:
            messages.warning(request, "nothing is chosen; tick at least one item")
            return here
        if verb == LetterVerb.DROP and not request.POST.get("confirmed"):
            return self._ask(request, fleet, choice)
        return self._handle(request, fleet, LetterVerb(verb), choice, here)

    def _ask(self, request: HttpRequest, fleet: Fleet, choice: Choice) -> HttpResponse:
        try:
            count, error = _counted(fleet, choice)
        except UNREAD as exc:
            messages.error(request, unanswered(exc))
            return _back(request, fleet)
        return self._answer(
            request, fleet, "confirm_drop.html",
            choice=choice, count=count, error=error,
            back=request.POST.get("back", ""), keep=_back(request, fleet).url,
        )  # fmt: skip

    def _handle(
        self,
        request: HttpRequest,
        fleet: Fleet,
        verb: LetterVerb,
        choice: Choice,
        here: HttpResponseRedirect,
    ) -> HttpResponse:
        end, by = time.monotonic() + LONGEST_SECONDS, request.user.get_username()

        def enough() -> bool:
            return time.monotonic() > end

        try:
            if choice.key:
                done = letters.handle_alike(
                    fleet, verb, choice.key,
                    until=choice.until, most=choice.most, by=by, enough=enough,
                )  # fmt: skip
            else:
                named = None if choice.every else choice.letters
                done = letters.handle(fleet, verb, named, by=by, enough=enough)
        except ValidationError as exc:
            messages.error(request, "; ".join(exc.messages))
        except (RedisError, ValueError) as exc:
            messages.error(request, f"{unanswered(exc)}; some may be left")
        else:
            _tell(request, fleet, verb, choice, done)
        return here

    def _answer(
        self, request: HttpRequest, fleet: Fleet, template: str, **more: Any
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Failed items of {fleet.name}",
            "opts": Fleet._meta,
            "fleet": fleet,
            "page_size": PAGE,
            "may_act": request.user.has_perm("fleet.change_fleet"),
            **more,
        }
        return TemplateResponse(request, f"admin/fleet/fleet/{template}", context)


def _fleet(request: HttpRequest, fleet_id: int) -> Fleet:
    """The fleet, for who may see it.

    Raises:
        Http404: there is none, or this user may not see fleets.
    """
    fleet = Fleet.objects.filter(pk=fleet_id).first()
    if fleet is None or not request.user.has_perm("fleet.view_fleet"):
        raise Http404(f"no fleet has the id {fleet_id}")
    return fleet


def _back(request: HttpRequest, fleet: Fleet) -> HttpResponseRedirect:
    """To the page whose button was pressed."""
    back = request.POST.get("back", "")
    if back == "all":
        return redirect(reverse("failed_items"))
    page = "admin:fleet_fleet_dead_each" if back == "each" else "admin:fleet_fleet_dead"
    return redirect(reverse(page, args=[fleet.pk]))


def _with_examples(fleet: Fleet, reasons: Reasons) -> Sequence[tuple[FailureGroup, Letter | None]]:
    """The first groups, each with its example; None: the example is gone meanwhile."""
    shown = reasons.groups[:GROUPS]
    found = letters.of_fleet(fleet).examples([group.example.letter for group in shown])
    return [(group, found.get(group.example.letter)) for group in shown]


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


def _lines(fleet: Fleet, key: str) -> Iterator[bytes]:
    for letter, fields in letters.of_fleet(fleet).whole():
        error = fields.get(protocol.DEAD_ERROR.encode(), b"").decode("utf-8", "backslashreplace")
        if not key or key_of(error) == key:
            yield letter_lines.line(letter, fields)


def _counted(fleet: Fleet, choice: Choice) -> tuple[int, str]:
    """How many letters are chosen, and the error of one of them if all have the same."""
    if choice.every:
        return letters.of_fleet(fleet).count(), ""
    if not choice.key:
        return len(choice.letters), ""
    same = letters.alike(fleet, choice.key, until=choice.until)
    return len(same), same[0].error if same else ""


def _tell(
    request: HttpRequest, fleet: Fleet, verb: LetterVerb, choice: Choice, done: Handled
) -> None:
    did = f"put back onto {fleet.stream}" if verb is LetterVerb.RETRY else "deleted"
    text = f"{fleet.name}: {plural(done.count, 'item')} {did}; {done.left:,} left"
    if choice.every and done.left:
        text += ". Press the button again for the others"
    messages.success(request, text)
    if done.missing:
        messages.warning(
            request,
            f"{', '.join(done.missing)}: not here any more; somebody put it back or deleted it",
        )
