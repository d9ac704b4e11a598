"""What an operator can set on an account at Vast.ai."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlsplit

from pods.providers.account_options import Called, WrongOption, check_names
from pods.providers.vastai.mapping import amount
from pods.providers.wire import LOOPBACK, checked_base_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options, checked. The defaults suit most accounts."""

    base_url: Annotated[
        str, Called("Address of the vendor"), "Another one for a proxy, or an emulator."
    ] = "https://console.vast.ai"
    verified: Annotated[
        bool, Called("Only verified hosts"), "Whether to rent only hosts that Vast.ai verified."
    ] = True
    min_cuda: Annotated[
        Decimal | None, Called("Lowest CUDA version"), "Such as 12.4. Empty: any."
    ] = None
    # How far a bid is above the price to beat, as a share. The next cent outbids a bid at the price.
    bid_margin: Annotated[
        Decimal,
        Called("Bid above the price to beat, share"),
        "Of offers that the vendor may take away: 0.1 bids a tenth more. 0 to 10.",
    ] = Decimal("0.1")
    search_pages: Annotated[
        int,
        Called("Pages of offers to read"),
        "Of 64 offers each, for each kind of offer. 1 to 10.",
    ] = 2

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Options":
        """The options of an account's row.

        Raises:
            ValueError: one is unknown or wrong. The message says what would be right.
        """
        check_names("vastai", given, cls)
        usual = cls()
        margin = _number("bid_margin", given.get("bid_margin"), most=10)
        return cls(
            base_url=_base_url(given.get("base_url", usual.base_url)),
            verified=_verified(given.get("verified", usual.verified)),
            min_cuda=_number("min_cuda", given.get("min_cuda"), most=100),
            bid_margin=usual.bid_margin if margin is None else margin,
            search_pages=_pages(given.get("search_pages", usual.search_pages)),
        )

    @property
    def on_this_machine(self) -> bool:
        """Whether the vendor is an emulator on this machine."""
        return urlsplit(self.base_url).hostname in LOOPBACK


def _base_url(value: object) -> str:
    if type(value) is not str:
        raise WrongOption("base_url", f"is {value!r}; give the address of the vendor")
    return checked_base_url(value)


def _verified(value: object) -> bool:
    if type(value) is not bool:
        raise WrongOption("verified", f"is {value!r}; give true or false")
    return value


def _number(name: str, value: object, *, most: int) -> Decimal | None:
    if value is None:
        return None
    number = amount(value)
    if number is None or number > most:
        raise WrongOption(name, f"is {value!r}; give a number from 0 to {most}")
    return number


def _pages(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10:
        raise WrongOption("search_pages", f"is {value!r}; give a whole number from 1 to 10")
    return value
