"""The page of the observed market: what could be rented when, at what price."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import localtime
from django.views.decorators.http import require_GET

from fleet.pages import market as markets
from fleet.pages.market import AccountMarket, Market, OfferType
from pods.accounts.observing import LONGEST_BREAK
from pods.base.words import usd

CHOICES: Final = (1, 7, 30)
WIDTH: Final = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A part of a line of time, in percent of its width."""

    left: float
    width: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A type of offers with its bars."""

    offer: OfferType
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An account with its lines, and the times in which nobody read its offers."""

    account: AccountMarket
    lines: Sequence[Line]
    unread: Sequence[Bar]
    more: int  # types that the page leaves out


@require_GET
@permission_required("pods.view_account", raise_exception=True)
def market(request: HttpRequest) -> HttpResponse:
    """Show what could be rented in the last days, as a line of time for each type of offers."""
    days = request.GET.get("days", str(markets.DAYS))
    if days not in map(str, CHOICES):
        raise Http404(f"give days as one of {', '.join(map(str, CHOICES))}")
    found = markets.market(days=int(days))
    context = {
        **admin.site.each_context(request),
        "title": "Market",
        "found": found,
        "shown": [_shown(account, found) for account in found.accounts],
        "lives": markets.lives(),
        "days": int(days),
        "choices": CHOICES,
        "marks": _marks(found),
    }
    return render(request, "fleet/market.html", context)


def _shown(account: AccountMarket, found: Market) -> Shown:
    types = account.types[: markets.MOST_TYPES]
    return Shown(
        account=account,
        lines=[
            Line(
                offer=each,
                bars=[
                    _bar(
                        found,
                        s.since,
                        s.until,
                        f"{_moment(s.since)} – {_until(s)}: {usd(s.hourly_usd)}/h",
                    )
                    for s in each.spells
                ],
            )
            for each in types
        ],
        unread=_unread(account, found),
        more=len(account.types) - len(types),
    )


def _until(spell: markets.Spell) -> str:
    return "now" if spell.stands else _moment(spell.until)


def _moment(at: datetime) -> str:
    here = localtime(at)
    return f"{here.day} {here:%b %H:%M}"


def _bar(found: Market, since: datetime, until: datetime, text: str = "") -> Bar:
    whole = found.until - found.since
    left = WIDTH * ((since - found.since) / whole)
    return Bar(left=round(left, 3), width=round(WIDTH * ((until - since) / whole), 3), text=text)


def _unread(account: AccountMarket, found: Market) -> Sequence[Bar]:
    """The gaps between the times in which its offers were read."""
    gaps, at = [], found.since
    for began, until in (*account.read, (found.until, found.until)):
        if began - at > LONGEST_BREAK:
            gaps.append(_bar(found, at, began))
        at = max(at, until)
    return gaps


def _marks(found: Market) -> Sequence[tuple[float, str]]:
    """Midnights of the reader's zone, at most eight."""
    first = localtime(found.since).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [first + timedelta(days=n) for n in range(1, (found.until - found.since).days + 2)]
    inside = [day for day in days if found.since < day < found.until]
    step = -(-len(inside) // 8) or 1
    return [(_bar(found, day, day).left, f"{day.day} {day:%b}") for day in inside[::step]]
