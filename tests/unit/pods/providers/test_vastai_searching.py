"""Vast.ai's market, read page by page: each condition in the case in which it alone decides."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from pods.providers.base import OfferQuery
from pods.providers.errors import Unavailable
from pods.providers.vastai import market, searching
from pods.providers.vastai.mapping import Row
from pods.providers.vastai.options import Options as VastOptions


class _Market:
    """Answers each search with the next page."""

    def __init__(self, *pages: list[Row]) -> None:
        self.pages, self.asked = iter(pages), list[Mapping[str, object]]()

    def search(self, body: Mapping[str, object]) -> list[Row]:
        self.asked.append(body)
        return next(self.pages, [])


def page(*prices: object, first: int = 1) -> list[Row]:
    """A whole page: the last row is repeated in price."""
    filled = [*prices, *([prices[-1]] * (market.PAGE - len(prices)))]
    return [{"id": first + n, "dph_total": price} for n, price in enumerate(filled)]


def test_a_page_without_prices_is_the_last_one() -> None:
    pages, api = searching.Pages(bids=False, most=9), _Market(page(None))
    pages.read_next(api, OfferQuery(), VastOptions.parse({}))
    assert pages.ended


@pytest.mark.parametrize(
    ("second", "past"),
    [
        (page(Decimal(1), first=1), True),  # nothing new
        (page(Decimal(1), first=500), True),  # only more at the same price
        (page(Decimal(1), Decimal(2), first=1), True),  # the same offers, some dearer meanwhile
        (page(Decimal(1), Decimal(2), first=500), False),
    ],
)
def test_the_third_page_begins_above_a_price_that_filled_two(second: list[Row], past: bool) -> None:
    pages, api = searching.Pages(bids=False, most=9), _Market(page(Decimal(1)), second)
    for _ in range(3):
        pages.read_next(api, OfferQuery(), VastOptions.parse({}))
    [limit] = api.asked[-1]["dph_total"]  # type: ignore[misc]
    assert limit == ("gt" if past else "gte")


@pytest.mark.parametrize(
    ("interruptible", "searched"),
    [(None, [(False, True), (True, True)]), (True, [(False, False), (True, True)]),
     (False, [(False, True)])],
)  # fmt: skip
def test_each_kind_of_offer_is_searched_where_it_is_wanted(
    interruptible: bool | None, searched: list[tuple[bool, bool]]
) -> None:
    options = VastOptions.parse({"search_pages": 3})
    api = _Market()
    found = searching.search(api, OfferQuery(interruptible=interruptible), options)
    assert [(pages.bids, pages.counts) for pages in found.pages] == searched
    assert [pages.most for pages in found.pages] == [3 if counts else 1 for _, counts in searched]


def test_what_only_tells_prices_is_neither_offered_nor_missed() -> None:
    firm = searching.Pages(bids=False, most=1, counts=False)
    firm.rows = page(Decimal(1))
    bids = searching.Pages(bids=True, most=1, rows=[{"id": 7}], ended=True)
    found = searching.Found(pages=[firm, bids], partial="")
    assert list(found.rows()) == [({"id": 7}, True)]
    assert searching._why_partial([firm, bids]) == ""
    bids.ended = False
    assert "the 1 cheapest" in searching._why_partial([firm, bids])


def kinds_of(api: _Market) -> list[object]:
    """Of which kind each search was."""
    return [body["type"] for body in api.asked]


def test_what_only_tells_prices_is_read_once() -> None:
    pages = [page(Decimal(n), first=100 * n) for n in range(1, 9)]
    api = _Market(*pages)
    options = VastOptions.parse({"search_pages": 3})
    searching.search(api, OfferQuery(interruptible=True), options)
    assert kinds_of(api) == ["on-demand", "bid", "bid", "bid"]


class _Failing(_Market):
    """Fails after its last page."""

    def search(self, body: Mapping[str, object]) -> list[Row]:
        found = super().search(body)
        if not found:
            raise Unavailable("no answer")
        return found


@pytest.mark.parametrize(
    ("interruptible", "pages", "kept"),
    [(True, 1, None), (True, 2, 64), (None, 1, 64), (None, 0, None)],
)
def test_a_search_that_fails_keeps_the_offers_of_the_pages_before(
    interruptible: bool | None, pages: int, kept: int | None
) -> None:
    api = _Failing(*(page(Decimal(n), first=100 * n) for n in range(1, pages + 1)))
    query, options = OfferQuery(interruptible=interruptible), VastOptions.parse({})
    if kept is None:
        with pytest.raises(Unavailable):
            searching.search(api, query, options)
        return
    found = searching.search(api, query, options)
    assert len(list(found.rows())) == kept
    assert (found.cut_short, "no answer" in found.partial) == (True, True)


def test_the_price_on_demand_is_that_without_disk_where_it_is_known() -> None:
    rows: list[Row] = [
        {"id": 1, "dph_base": Decimal(1), "dph_total": Decimal(2)},
        {"id": 2, "dph_base": None, "dph_total": Decimal(2)},
        {"id": 3, "dph_total": None},
    ]
    firm = searching.Pages(bids=False, most=1, rows=rows)
    bids = searching.Pages(bids=True, most=1, rows=[{"id": 1, "dph_base": Decimal(7)}])
    found = searching.Found(pages=[firm, bids], partial="")
    assert found.firm_usd() == {"1": 1, "2": 2}
