"""The adapter for Vast.ai, a market where an accepted offer becomes an instance."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from pods.amounts import usd
from pods.machine_names import has_tag, token_of
from pods.providers.base import (
    Capabilities,
    Machine,
    Offer,
    OfferQuery,
    Offers,
    Phase,
    PodSpec,
    Provider,
    Rate,
)
from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from pods.providers.http import VendorHttp
from pods.providers.pacing import MakePacer, unpaced
from pods.providers.vastai import logs, market, searching
from pods.providers.vastai.mapping import machine_of
from pods.providers.vastai.options import Options
from pods.providers.vastai.refusals import DoubtfulFunds, wait_in
from pods.providers.vastai.wire import Api, Caller
from pods.providers.wire import cleaned, secrets_in

_ID: Final = re.compile(r"[1-9]\d{0,17}", re.ASCII)
# A refused create that mentions money is believed when less than this is left. One hour of the
# dearest GPU costs more.
LEAST_CREDIT: Final = Decimal(1)


class Vastai:
    """One account at Vast.ai. The list is v1 of the API, everything else v0 (vastai.md §1)."""

    name = "vastai"
    # From vastai.md, November 2026. Each flag names its section.
    capabilities = Capabilities(
        can_stop=True,  # §8; meanwhile the GPU goes back to the market
        # §5: it is UNVERIFIED how long a new row can be missing. §3 advises a minute or two.
        list_lag=timedelta(minutes=2),
        # §7: a destroyed row can stay "for a while". Volumes are free about 30 s later.
        consistency_window=timedelta(minutes=1),
        has_balance=True,  # §9
        registry_logins=True,
        login_pattern=market.LOGIN_PATTERN,
        login_rule=market.LOGIN_RULE,
        takes_args=True,
        comes_back=True,  # §8: an outbid instance starts by itself when its bid wins again
        # `x-rate-limit` in Vast.ai's files, 2026-08-07. Search: 10 a minute, so 4 at once and 6 more.
        rates={
            "search": Rate(every=timedelta(seconds=10), burst=4),
            "create": Rate(every=timedelta(seconds=4.5)),
            "status": Rate(every=timedelta(seconds=2)),
            "list": Rate(every=timedelta(seconds=1)),
            "manage": Rate(every=timedelta(seconds=1)),
            "destroy": Rate(every=timedelta(seconds=3)),
        },
        offers_ttl=timedelta(
            seconds=45
        ),  # §2: there is a daily quota; keep an answer for 30 to 60 s
    )

    def __init__(
        self,
        http: Caller,
        options: Options,
        *,
        clean: Callable[[str], str] = cleaned,
    ) -> None:
        """`clean` removes the account's key from a text."""
        self._api = Api(http)
        self._options = options
        self._clean = clean

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """The offers that can be rented now and that fit, cheapest first.

        Where a page fails after the first one, the offers of the pages before it.

        Raises:
            RateLimited: also when the daily quota is used up. Then it lasts until midnight UTC.
        """
        if not market.may_have(query):
            return ()
        found = searching.search(self._api, query, self._options)
        firm_usd = found.firm_usd()
        offers: dict[str, Offer] = {}
        for row, bids in found.rows():
            limit = firm_usd.get(searching.ask_of(row))
            offer = market.offer_of(row, query, self._options, bids=bids, firm_usd=limit)
            if offer is not None:
                offers[offer.key] = offer
        ranked = sorted(offers.values(), key=lambda offer: (offer.hourly_usd, offer.key))
        return Offers(ranked, partial=found.partial, cut_short=found.cut_short)

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        """Rent the spec's offer, at full price or, where the spec is interruptible, at its bid.

        Raises:
            NoCapacity, QuotaExceeded, AuthFailed, RateLimited: nothing was rented.
            Refused: nothing was rented, except the instance that `billing_id` names.
            Unavailable: no answer came. The instance may exist and bill.
        """
        if token_of(spec.name) != token:
            # After a lost answer, only the label can find the instance.
            raise Refused(f"name {spec.name!r} does not end with -{token}")
        key = market.read_key(spec.offer_key)
        bid = _bid_of(spec, key)
        body = market.create_body(spec, bid)
        try:
            external_id = self._api.accept(key.ask, body, hide=_secrets(spec))
        except DoubtfulFunds as exc:
            raise self._funds_or_refused(exc) from None
        return Machine(
            external_id=external_id,
            token=token,
            name=spec.name,
            phase=Phase.BOOTING,
            raw_status="accepted",
            interruptible=bid is not None,
        )

    def _funds_or_refused(self, refusal: DoubtfulFunds) -> QuotaExceeded | Refused:
        """The error of a refusal about money. Its code is UNVERIFIED (§6), so the balance decides."""
        try:
            money = self._api.money()
        except ProviderError:
            money = None
        if money is None or money >= LEAST_CREDIT:
            return Refused(str(refusal))
        return QuotaExceeded(f"{refusal}; {usd(money)} is left")

    def status(self, external_id: str) -> Machine:
        """What Vast.ai says about one instance.

        Raises:
            NotFound: Vast.ai shows none: the instance is gone, or is too new.
        """
        row = self._api.instance(_checked(external_id))
        if row is None:
            raise NotFound(f"Vast.ai shows no instance {external_id}")
        return machine_of(row)

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """Every instance with a label `<tag>-…`. The API itself cannot search for prefixes."""
        machines = [machine_of(row) for row in self._api.instances()]
        return [machine for machine in machines if has_tag(machine.name, tag)]

    def stop(self, external_id: str) -> None:
        """Stop it. Its disk still bills, and anybody may rent its GPU."""
        self._api.stop(_checked(external_id))

    def start(self, external_id: str) -> None:
        """Start it again.

        Raises:
            NoCapacity: somebody else has its GPU. Vast.ai queues the request, and would start and
                bill the instance hours later. So the request is taken back.
            Unavailable: the request is queued and could not be taken back.
        """
        refusal = self._api.start(_checked(external_id))
        if refusal is None:
            return
        if isinstance(refusal, NotFound | AuthFailed):
            raise refusal
        try:
            self._api.stop(external_id)
        except NotFound:
            raise
        except ProviderError as exc:
            raise Unavailable(f"the start is queued and could not be taken back: {exc}") from exc
        if isinstance(refusal, QuotaExceeded):
            raise refusal
        raise NoCapacity(f"the GPU of instance {external_id} is taken: {refusal}")

    def destroy(self, external_id: str) -> None:
        """End it and its rent. It ends later (§7). One that is gone already is a success."""
        try:
            self._api.destroy(_checked(external_id))
        except NotFound:
            return

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The last lines that its container printed."""
        url = self._api.request_logs(_checked(external_id), tail=tail)
        text = self._clean(logs.fetch(url, loopback=self._options.on_this_machine))
        return "\n".join(text.splitlines()[-tail:])

    def balance(self) -> Decimal | None:
        """Prepaid credit in USD, else the balance."""
        return self._api.money()


def _secrets(spec: PodSpec) -> Sequence[str]:
    """What no message about a create may show."""
    login = spec.registry_login
    return [*secrets_in(spec.env.values()), *([] if login is None else [login.password])]


def _bid_of(spec: PodSpec, key: market.OfferKey) -> Decimal | None:
    """The bid to rent at. None for on-demand.

    Raises:
        Refused: spec and offer are of different kinds. Vast.ai would rent at full price.
    """
    if spec.interruptible and key.bid is None:
        raise Refused(f"offer {key} has no bid, and the pod must be interruptible")
    if key.bid is not None and not spec.interruptible:
        raise Refused(f"offer {key} is interruptible, and the pod must not be")
    return key.bid


def _checked(external_id: str) -> str:
    if not _ID.fullmatch(external_id):
        raise Refused(f"{external_id[:40]!r} is not an id of Vast.ai; use digits only")
    return external_id


def connect(
    *, options: Mapping[str, Any], secret: str | None, make_pacer: MakePacer = unpaced
) -> Provider:
    """The adapter of one account at Vast.ai.

    Raises:
        ValueError: an option or the key is wrong. The message says what would be right.
    """
    chosen = Options.parse(options)
    if not secret:
        raise ValueError("vastai needs an API key; create one in its console, under Keys")
    http = VendorHttp(
        base_url=chosen.base_url,
        secret=secret,
        wait_in=wait_in,
        plain_errors=True,
        pacer=make_pacer(Vastai.capabilities.rates),
    )
    return Vastai(http, chosen, clean=http.clean)
