"""What a fleet is willing to rent: reads its offer_query, checks its names, asks surveys for it."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import timedelta
from decimal import Decimal
from reprlib import repr as short
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from fleet.decision.values import Mode, Wanted
from fleet.models import Fleet
from pods.accounts import surveying
from pods.catalogue import gpus, regions
from pods.models import Account
from pods.providers.base import OfferQuery

MOST_GB: Final = 10_000  # of one GPU; the largest one has 288 (2026)
LEAST_USD: Final = Decimal("0.000001")  # the smallest price that a row can hold
MOST_USD: Final = 100_000
NO_TIME, LONGEST = timedelta(0), timedelta(days=3650)
_WANTED: Final = TypeAdapter(Wanted)
OWN_FIELDS: Final = frozenset({"disk_gb", "gpu_count"})  # of the fleet
# What an offer_query may say.
KEYS: Final = frozenset(f.name for f in fields(Wanted)) - OWN_FIELDS

# What an operator may give, by its name; the words of pydantic are for programmers.
RIGHT: Final[Mapping[str, str]] = {
    "gpu_types": 'a list of names, such as ["H100"]',
    "regions": 'a list of names, such as ["Europe"]',
    "min_vram_gb": "a whole number of GB, such as 24",
    "max_hourly_usd": 'USD, such as "0.5"',
    "min_reliability": "a share from 0 to 1, such as 0.95",
    "min_remaining": "seconds, such as 3600",
    "interruptible": "true or false",
}


class RefusedWish(ValueError):
    """A value of an offer_query is wrong; the message says which, and what would be right."""

    def __init__(self, key: str, wrong: str, *, follows_name: bool = True) -> None:
        """`follows_name`: `wrong` begins behind the name of the value: `is -5; give ...`."""
        super().__init__(f"{key} {wrong}" if follows_name else wrong)
        self.key, self._wrong, self._follows_name = key, wrong, follows_name

    def said_of(self, label: str) -> str:
        """The message where the value has a label instead of its name, such as in a form."""
        return f"{label} {self._wrong}" if self._follows_name else self._wrong


def wanted(fleet: Fleet) -> Wanted:
    """The offers that the fleet accepts, from its offer_query, with the names of the catalogue.

    A name that nobody knows is kept: it was known once, or an older version let it pass.

    Raises:
        ValueError: a field of offer_query is unknown or malformed; the message says which.
    """
    query = fleet.offer_query
    if not isinstance(query, dict):
        raise ValueError(  # noqa: TRY004 - callers show an operator every ValueError
            'give names and values: {"gpu_types": ["RTX 4090"]}'
        )
    unknown = sorted(set(query) - KEYS)
    if unknown:
        raise ValueError(f"{', '.join(unknown)} unknown; use {', '.join(sorted(KEYS))}")
    try:
        wish = _WANTED.validate_python({k: v for k, v in query.items() if v is not None})
    except ValidationError as exc:
        raise _first_of(exc, query) from exc
    if wish.min_reliability is not None and not 0 <= wish.min_reliability <= 1:
        raise RefusedWish("min_reliability", "must be a share from 0 to 1")
    return replace(
        wish,
        gpu_types=tuple(_once(map(gpus.read_wish, wish.gpu_types))),
        regions=tuple(_once(map(regions.read_wish, wish.regions))),
        gpu_count=fleet.gpu_count,
        disk_gb=fleet.disk_gb,
    )


def refuse_odd_numbers(wish: Wanted) -> None:
    """Refuse numbers that no offer can have, or that every offer passes.

    Raises:
        ValueError: one is out of bounds; the message names it and says what would be right.
    """
    bounds: tuple[tuple[str, Any, Any, Any, str], ...] = (
        ("min_vram_gb", wish.min_vram_gb, 1, MOST_GB, f"whole GB from 1 to {MOST_GB}"),
        ("max_hourly_usd", wish.max_hourly_usd, LEAST_USD, MOST_USD, f"USD, up to {MOST_USD}"),
        ("min_remaining", wish.min_remaining, NO_TIME, LONGEST, "seconds, up to ten years"),
    )
    for name, value, least, most, right in bounds:
        if value is not None and not least <= value <= most:
            shown = int(value.total_seconds()) if isinstance(value, timedelta) else value
            raise RefusedWish(name, f"is {shown}; give {right}, or leave it out")


def canonical(query: Mapping[str, Any], *, stored: Mapping[str, Any]) -> dict[str, Any]:
    """A checked offer_query with the names of the catalogue, as a fleet's row stores it.

    `stored`: the row's present one. Its names are not refused: an older version let them pass, or the
    survey that knew them has gone.

    Raises:
        ValueError: nobody knows a name; the message has the nearest ones.
    """
    named = dict(query)
    for key, column, wished in (
        ("gpu_types", "gpu_type", gpus.wished),
        ("regions", "region", regions.wished),
    ):
        if names := named.get(key):
            seen = {*surveying.names_seen(column), *map(str, stored.get(key) or ())}
            try:
                named[key] = _once(wished(name, seen=seen) for name in names)
            except ValueError as exc:
                raise RefusedWish(key, str(exc), follows_name=False) from exc
    return named


def query_of(wish: Wanted) -> OfferQuery:
    """The wish as accounts are asked for it."""
    return OfferQuery(**asdict(wish))


def keep_wishes(account: Account) -> None:
    """Let the surveys of an account be those that its running fleets ask for."""
    fleets = Fleet.objects.filter(
        accounts=account, mode=Mode.RUNNING.value, archived_at=None
    ).order_by("pk")
    surveying.keep_wishes(account, [query_of(w) for w in map(_readable, fleets) if w is not None])


def _readable(fleet: Fleet) -> Wanted | None:
    try:
        return wanted(fleet)
    except ValueError:
        return None  # its ticks say what is wrong


def _once(names: Any) -> list[str]:
    return list(dict.fromkeys(names))


def _first_of(exc: ValidationError, query: Mapping[str, Any]) -> RefusedWish:
    first = exc.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0])
    return RefusedWish(name, f"is {short(query[name])}; give {RIGHT[name]}, or leave it out")
