"""Reads Vast.ai's market page by page, and keeps what it has read when a page fails."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Protocol

from pods.providers.base import OfferQuery
from pods.providers.errors import TryAgain
from pods.providers.vastai import market
from pods.providers.vastai.mapping import Row, amount, instance_id, price
from pods.providers.vastai.options import Options

# Only the price that a bid must not exceed is read from it.
PAGES_OF_PRICES: Final = 1


class Searcher(Protocol):
    """Sends one search. `wire.Api` in production."""

    def search(self, body: Mapping[str, object]) -> list[Row]:
        """One page of offers."""
        ...


@dataclass(slots=True, kw_only=True)
class Pages:
    """The pages of one kind of offers. Each page begins at the last price of the page before."""

    bids: bool
    most: int
    counts: bool = True  # False: they only tell prices, so nothing is missing without them
    rows: list[Row] = field(default_factory=list)
    read: int = 0
    ended: bool = False  # the market has no more
    _above: Decimal | None = None
    _past: bool = False
    _seen: set[str | None] = field(default_factory=set)

    def read_next(self, api: Searcher, query: OfferQuery, options: Options) -> None:
        """Read one page more."""
        body = market.search_body(
            query, options, bids=self.bids, above=self._above, past=self._past
        )
        rows = api.search(body)
        self.read += 1
        self.rows += rows
        ids = {ask_of(row) for row in rows}
        dearest = max((p for r in rows if (p := amount(r.get("dph_total")))), default=None)
        if len(rows) < market.PAGE or dearest is None:
            self.ended = True
            return
        # After a whole page at one price, the next page must begin above that price.
        self._past = ids <= self._seen or dearest == self._above
        self._above = dearest
        self._seen |= ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The rows of a search, and why some may be missing."""

    pages: Sequence[Pages]
    partial: str
    cut_short: bool = False

    def rows(self) -> Iterator[tuple[Row, bool]]:
        """Each row that may become an offer, and whether it is for bids."""
        for pages in self.pages:
            if pages.counts:
                yield from ((row, pages.bids) for row in pages.rows)

    def firm_usd(self) -> Mapping[str | None, Decimal]:
        """The on-demand prices of the GPUs, without disk, by the id of the offer."""
        return {
            ask_of(row): usd
            for pages in self.pages
            if not pages.bids
            for row in pages.rows
            if (usd := price(row.get("dph_base")) or price(row.get("dph_total")))
        }


def search(api: Searcher, query: OfferQuery, options: Options) -> Found:
    """Read the market's pages, one of each kind in turn, so that no kind uses up the rate alone.

    Raises:
        ProviderError: the first page failed, or the key is refused.
    """
    kinds = _kinds(query, options)
    for number in range(options.search_pages):
        for pages in kinds:
            if pages.ended or number >= pages.most:
                continue
            try:
                pages.read_next(api, query, options)
            except TryAgain as exc:
                if not any(p.rows for p in kinds if p.counts):
                    raise
                why = f"a page could not be read: {exc}"
                return Found(pages=kinds, partial=why, cut_short=True)
    return Found(pages=kinds, partial=_why_partial(kinds))


def _kinds(query: OfferQuery, options: Options) -> list[Pages]:
    firm, bids = query.interruptible is not True, query.interruptible is not False
    kinds = [Pages(bids=False, most=options.search_pages if firm else PAGES_OF_PRICES, counts=firm)]
    return [*kinds, Pages(bids=True, most=options.search_pages)] if bids else kinds


def _why_partial(kinds: Sequence[Pages]) -> str:
    if all(pages.ended for pages in kinds if pages.counts):
        return ""
    read = sum(len({ask_of(row) for row in pages.rows}) for pages in kinds if pages.counts)
    return f"the market has more offers than the {read} cheapest, which were read"


def ask_of(row: Row) -> str | None:
    """The id of the offer in a row of a search."""
    return instance_id(row.get("ask_contract_id", row.get("id")))
