"""Vast.ai's market: the bodies of a search and a create, and the check and price of offers. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any, Final

from pods.agent.protocol import ended_by
from pods.catalogue import gpus, regions
from pods.providers.base import Offer, OfferQuery, PodSpec, RegistryLogin
from pods.providers.errors import Refused
from pods.providers.vastai.mapping import amount, country_of, hourly, instance_id, price
from pods.providers.vastai.options import Options
from pods.providers.vastai.refusals import tidy

# A search returns at most 64 offers (seen in public code, 2026-09-29; vastai.md §2).
PAGE: Final = 64
MIN_DISK_GB: Final = 8  # create_instance.yaml, x-input-validation, 2026-08-07
MIN_BID: Final = Decimal("0.001")
MAX_BID: Final = Decimal(128)
# create_instance.yaml, x-input-validation: an item of env, and all of env together.
LONGEST_ENV_ITEM: Final = 256
LONGEST_ENV: Final = 32_768
LONGEST_ARGS: Final = 4_096
LONGEST_IMAGE: Final = 1024
LONGEST_LABEL: Final = 256
# The single spec's examples: 10 GB at 0.14933 $/GB/month is 0.0020741 $/h, so a month is 720 h.
HOURS_A_MONTH: Final = 720
# A card's memory is given in MB, up to a tenth less than its name says (23034 for 24 GB).
MB_A_GB: Final = 1024
LEAST_MB_A_GB: Final = int(MB_A_GB * (1 - gpus.NEAR))
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Vast.ai splits a login into words itself (vastai.md §3).
LOGIN_PATTERN: Final = r"""(?!-)[^\s"'`\\]+"""
LOGIN_RULE: Final = (
    "without - in front, blanks, quotes and backslashes, which Vast.ai does not pass on; use an access "
    "token of that registry"
)
_KEY: Final = re.compile(r"(\d{1,18})(?:@(\d{1,3}(?:\.\d{1,6})?))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferKey:
    """The parts of an offer's key: the ask, and the bid where the offer is interruptible."""

    ask: str
    bid: Decimal | None = None

    def __str__(self) -> str:
        """`28471022` for an on-demand offer, `28471022@0.222` for a bid of 0.222 USD/h."""
        return self.ask if self.bid is None else f"{self.ask}@{self.bid}"


def read_key(text: str) -> OfferKey:
    """The ask and the bid in a key that `offers` returned.

    Raises:
        Refused: it is not such a key. Nothing was sent.
    """
    found = _KEY.fullmatch(text)
    if found is None:
        raise Refused(
            f"{text[:40]!r} is not an offer of Vast.ai; take a key that `offers` returned"
        )
    return OfferKey(ask=found[1], bid=Decimal(found[2]) if found[2] else None)


def search_body(
    query: OfferQuery,
    options: Options,
    *,
    bids: bool,
    above: Decimal | None = None,
    past: bool = False,
) -> dict[str, Any]:
    """The body of one page of a search, cheapest first, from the price `above` on.

    `past`: only offers that cost more than `above`, because a whole page costs exactly that.
    """
    prices: dict[str, float] = {}
    if above is not None:
        prices["gt" if past else "gte"] = float(above)
    if query.max_hourly_usd is not None and not bids:
        prices["lte"] = float(query.max_hourly_usd)
    body: dict[str, Any] = {
        # Always sent: the default of this filter is true (search_offers.yaml).
        "verified": {"eq": True} if options.verified else {"in": [True, False]},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "num_gpus": {"eq": query.gpu_count},
        "disk_space": {"gte": disk_gb(query.disk_gb)},
        "type": "bid" if bids else "on-demand",
        "order": [["dph_total", "asc"]],
        "limit": PAGE,
        "allocated_storage": disk_gb(query.disk_gb),
    }
    if prices:
        body["dph_total"] = prices
    optional: Sequence[tuple[str, str, Any]] = (
        ("gpu_name", "in", _spellings(query)),
        ("geolocation", "in", _countries(query)),
        ("gpu_ram", "gte", query.min_vram_gb and query.min_vram_gb * LEAST_MB_A_GB),
        ("reliability2", "gte", query.min_reliability),
        ("duration", "gte", query.min_remaining and query.min_remaining.total_seconds()),
        ("cuda_max_good", "gte", options.min_cuda and float(options.min_cuda)),
    )
    body.update({name: {op: value} for name, op, value in optional if value})
    return body


def may_have(query: OfferQuery) -> bool:
    """Whether this market can have what is asked for: a data center of another vendor it has not."""
    return not query.regions or not all(map(regions.is_center, query.regions))


def _spellings(query: OfferQuery) -> list[str]:
    """Every name under which the market may have the GPUs: this filter matches whole names."""
    names = [spelling for wish in query.gpu_types for spelling in gpus.spellings(wish)]
    return list(dict.fromkeys(names))


def _countries(query: OfferQuery) -> list[str]:
    """The codes of the countries that are asked for. None where one of the places has no code."""
    codes = [regions.countries(r) for r in query.regions if not regions.is_center(r)]
    return sorted(frozenset().union(*codes)) if all(codes) else []


def offer_of(
    row: Mapping[str, Any],
    query: OfferQuery,
    options: Options,
    *,
    bids: bool,
    firm_usd: Decimal | None = None,
) -> Offer | None:
    """A row of a search as an offer. None where it does not fit, although the server filtered.

    A value that the row lacks does not fit: an unknown reliability is below every minimum.
    `firm_usd`: the on-demand price of the same GPU, where it is known.
    """
    ask = instance_id(row.get("ask_contract_id", row.get("id")))
    costs = _bid_price(row, query, options, firm_usd) if bids else _firm_price(row, query)
    if ask is None or costs is None:
        return None
    bid, usd = costs
    offer = Offer(
        key=str(OfferKey(ask=ask, bid=bid)),
        hourly_usd=hourly(usd),
        gpu_type=gpus.named(tidy(row.get("gpu_name"))),
        gpu_count=int(amount(row.get("num_gpus")) or 0),
        vram_gb=_vram_gb(row),
        region=country_of(row.get("geolocation")),
        interruptible=bids,
        reliability=_reliability(row),
        host=str(row["machine_id"]) if row.get("machine_id") is not None else "",
        remaining=_remaining(row),
        stopped_hourly_usd=_disk_rent(row, disk_gb(query.disk_gb)),
        disk_gb=disk_gb(query.disk_gb),
        gb_hourly_usd=_disk_rent(row, 1) or Decimal(0),
        largest_disk_gb=None if (space := amount(row.get("disk_space"))) is None else int(space),
    )
    fits = _row_fits(row, query, options, bids=bids) and _offer_fits(offer, query)
    return offer if fits else None


def _row_fits(row: Mapping[str, Any], query: OfferQuery, options: Options, *, bids: bool) -> bool:
    """Whether the row fits, by the values that an Offer does not have."""
    if row.get("rentable") is False or row.get("rented") is True or row.get("external") is True:
        return False
    if row.get("is_bid") is True and not bids:
        return False  # its price is only the price to beat
    if options.verified and row.get("verification") != "verified":
        return False
    cuda = amount(row.get("cuda_max_good"))
    if options.min_cuda is not None and (cuda is None or cuda < options.min_cuda):
        return False
    space = amount(row.get("disk_space"))
    return space is None or space >= disk_gb(query.disk_gb)


def _offer_fits(offer: Offer, query: OfferQuery) -> bool:
    kinds, places = query.gpu_types, query.regions
    vram, reliability, remaining = query.min_vram_gb, query.min_reliability, query.min_remaining
    return (
        offer.gpu_count == query.gpu_count
        and (not kinds or any(gpus.means(w, offer.gpu_type, offer.vram_gb) for w in kinds))
        and (not places or any(regions.within(offer.region, place) for place in places))
        and (query.max_hourly_usd is None or offer.hourly_usd <= query.max_hourly_usd)
        and (vram is None or (offer.vram_gb is not None and offer.vram_gb >= vram))
        and (
            reliability is None
            or (offer.reliability is not None and offer.reliability >= reliability)
        )
        and (remaining is None or (offer.remaining is not None and offer.remaining >= remaining))
    )


def _firm_price(row: Mapping[str, Any], query: OfferQuery) -> tuple[None, Decimal] | None:
    """The USD/h of the machine with its disk, on demand. None: unknown.

    The price of the disk is also calculated here, and the higher sum counts: `dph_total` has the
    disk only as far as the search obeyed `allocated_storage`.
    """
    disk = _disk_rent(row, disk_gb(query.disk_gb))
    total, base = price(row.get("dph_total")), price(row.get("dph_base"))
    if not total:
        return None
    added_up = base + disk if base is not None and disk is not None else total
    return None, max(total, added_up)


def _bid_price(
    row: Mapping[str, Any], query: OfferQuery, options: Options, firm_usd: Decimal | None
) -> tuple[Decimal, Decimal] | None:
    """The bid, and the USD/h of the machine with its disk at this bid.

    None: unknown, or the price to beat is so high that on demand costs no more.
    """
    disk = _disk_rent(row, disk_gb(query.disk_gb))
    to_beat = price(row.get("min_bid")) or price(row.get("dph_total"))
    if not to_beat or disk is None:
        return None
    bid = min(max(_bid_above(to_beat, options.bid_margin), MIN_BID), MAX_BID)
    base = price(row.get("dph_base"))
    if firm_usd is None and base and base != to_beat:
        firm_usd = base  # in a search for bids this may be the price to beat again (vastai.md §2)
    if firm_usd is not None:
        bid = min(bid, firm_usd.quantize(MIN_BID, rounding=ROUND_DOWN))
    return (bid, bid + disk) if bid >= max(to_beat, MIN_BID) else None


def _bid_above(to_beat: Decimal, margin: Decimal) -> Decimal:
    return (to_beat * (1 + margin)).quantize(MIN_BID, rounding=ROUND_UP)


def _disk_rent(row: Mapping[str, Any], size_gb: int) -> Decimal | None:
    """USD/h of a disk, at the host's price for a GB and month."""
    monthly = price(row.get("storage_cost"))
    return None if monthly is None else monthly * size_gb / HOURS_A_MONTH


def _vram_gb(row: Mapping[str, Any]) -> int | None:
    megabytes = amount(row.get("gpu_ram"))
    if megabytes is None:
        return None
    return gpus.nominal_gb(tidy(row.get("gpu_name")), float(megabytes) / MB_A_GB)


def _reliability(row: Mapping[str, Any]) -> float | None:
    value = amount(row.get("reliability2", row.get("reliability")))
    return None if value is None else float(value)


def _remaining(row: Mapping[str, Any]) -> timedelta | None:
    seconds = amount(row.get("duration"))
    return None if seconds is None else timedelta(seconds=min(float(seconds), 10**9))


def disk_gb(wanted: int) -> int:
    """The disk to ask for. Vast.ai rents no disk below 8 GB."""
    return max(wanted, MIN_DISK_GB)


def create_body(spec: PodSpec, bid: Decimal | None) -> dict[str, Any]:
    """The body of a create: on-demand, or interruptible at this bid.

    Raises:
        Refused: Vast.ai would not take it. Nothing was sent. The message has no value of env.
    """
    if not spec.image or len(spec.image) > LONGEST_IMAGE:
        raise Refused(f"image {spec.image[:60]!r}: give one of 1 to {LONGEST_IMAGE} characters")
    if len(spec.name) > LONGEST_LABEL:
        raise Refused(f"name {spec.name[:60]!r}… is longer than {LONGEST_LABEL} characters")
    if bid is not None and not MIN_BID <= bid <= MAX_BID:
        raise Refused(f"bid is {bid}; give {MIN_BID} to {MAX_BID} USD/h")
    body: dict[str, Any] = {
        "client_id": "me",
        "image": spec.image,
        "label": spec.name,
        "disk": disk_gb(spec.disk_gb),
        # "args" keeps the image's entrypoint. ssh and jupyter replace it, and no agent would start.
        "runtype": "args",
        "args": _checked_args(spec.command or spec.args),
        "env": _checked_env({**spec.env, **ended_by("vastai", spec.name)}),
        "target_state": "running",
        # Fail with a 410 instead of leaving a stopped contract that bills its disk.
        "cancel_unavail": True,
    }
    if spec.registry_login is not None:
        body["image_login"] = image_login(spec.registry_login)
    if bid is not None:
        # Without a price the pod is on-demand at full price, even if a search for bids found the offer.
        body["price"] = float(bid)
    return body


def image_login(login: RegistryLogin) -> str:
    """A login as Vast.ai takes it, in the words of `docker login` (vastai.md §3). Hosts see it.

    Raises:
        Refused: Vast.ai would read other words out of it. The message has no password.
    """
    words = {"user": login.user, "password": login.password}
    for name, value in words.items():
        if not re.fullmatch(LOGIN_PATTERN, value):
            raise Refused(f"give the {name} of the login for {login.host} {LOGIN_RULE}")
    return f"-u {login.user} -p {login.password} {login.host}"


def _checked_args(command: Sequence[str]) -> list[str]:
    size = sum(map(len, command))
    if size > LONGEST_ARGS:
        raise Refused(f"the start command is {size} characters; Vast.ai takes {LONGEST_ARGS}")
    return list(command)


def _checked_env(env: Mapping[str, str]) -> dict[str, str]:
    total = 0
    for name, value in env.items():
        # `-p 80:80` as a name opens a port, `-v` mounts a folder: no name may become such a flag.
        if not _ENV_NAME.fullmatch(name):
            raise Refused(f"env name {name[:40]!r}: give letters, digits and _ only")
        size = len(name) + len(value)
        if size > LONGEST_ENV_ITEM:
            raise Refused(
                f"env {name} is {size} characters with its value; Vast.ai takes {LONGEST_ENV_ITEM}"
            )
        total += size
    if total > LONGEST_ENV:
        raise Refused(f"env is {total} characters; Vast.ai takes {LONGEST_ENV}")
    return dict(env)
