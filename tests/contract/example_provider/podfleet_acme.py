"""Acme Cloud as a provider of Podfleet: small, but complete."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from pods.providers.base import (
    Capabilities,
    Machine,
    Offer,
    OfferQuery,
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
from pods.providers.http import Answer, VendorHttp
from pods.providers.pacing import MakePacer
from pods.providers.wire import checked_base_url, checked_id, moment, secrets_in, usd

T = TypeVar("T")
BASE_URL: Final = "https://api.acme.example"
SERVERS: Final = "/v1/servers"
MOST_PAGES: Final = 1000
# Acme's words in ours. A word that is not here is UNKNOWN, and never read as gone.
PHASES: Final[Mapping[str, Phase]] = {
    "starting": Phase.BOOTING,
    "on": Phase.RUNNING,
    "crashed": Phase.FAILED,
}
ERRORS: Final[Mapping[str, type[ProviderError]]] = {
    "bad_key": AuthFailed,
    "no_money": QuotaExceeded,
    "sold_out": NoCapacity,
    "not_found": NotFound,
}


class Acme:
    """One account at Acme. It has no state: each call names its machine."""

    name = "acme"
    # The tests of the contract check these promises.
    capabilities = Capabilities(
        can_stop=False,
        list_lag=timedelta(seconds=10),  # "may take some seconds to be listed"
        has_balance=False,
        rates={"*": Rate(every=timedelta(milliseconds=100), burst=20)},
        offers_ttl=timedelta(seconds=30),
    )

    def __init__(self, http: VendorHttp) -> None:
        """`http` has the key. No repr, message or log shows it."""
        self._http = http

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """The plans that have a free GPU and fit the query."""
        if query.regions or query.interruptible:
            return ()
        found = _rows(_good(self._http.call("GET", "/v1/plans")), "plans")
        offers = [_offer(plan) for plan in found if plan.get("free")]
        return [offer for offer in offers if _fits(offer, query)]

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        """Rent a server. The request is sent once. Without an answer the caller looks for the token."""
        answer = self._http.call(
            "POST",
            SERVERS,
            json={
                # One `reference` is one server (API, "Creating servers").
                "reference": token,
                "name": spec.name,
                "plan": spec.offer_key,
                "image": spec.image,
                "env": dict(spec.env),
            },
            hide=secrets_in(spec.env.values()),
        )
        return _machine(_field(_good(answer), "server", dict))

    def status(self, external_id: str) -> Machine:
        """What Acme says about one server."""
        answer = self._http.call("GET", f"{SERVERS}/{checked_id(external_id)}")
        return _machine(_field(_good(answer), "server", dict))

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """The servers whose names begin with the tag: all pages, or an error."""
        return [m for m in map(_machine, self._servers()) if m.name.startswith(f"{tag}-")]

    def stop(self, external_id: str) -> None:
        """Acme cannot stop a server."""
        raise Refused(f"{external_id!r} cannot be stopped; Acme can only destroy a server")

    def start(self, external_id: str) -> None:
        """Acme cannot start a server again."""
        raise Refused(f"{external_id!r} cannot be started; Acme never stops a server")

    def destroy(self, external_id: str) -> None:
        """End the server. One that is gone already is a success."""
        answer = self._http.call("DELETE", f"{SERVERS}/{checked_id(external_id)}")
        if answer.ok:
            return
        error = _refusal(answer)
        if not isinstance(error, NotFound):
            raise error

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The last lines that the server printed."""
        answer = self._http.call("GET", f"{SERVERS}/{checked_id(external_id)}/log")
        lines = [str(line) for line in _field(_good(answer), "lines", list)]
        return self._http.clean("\n".join(lines[-tail:] if tail > 0 else []))

    def balance(self) -> Decimal | None:
        """Acme does not tell the balance."""
        return None

    def _servers(self) -> Iterator[Mapping[str, Any]]:
        after = ""
        for _ in range(MOST_PAGES):
            params = {"after": after} if after else None
            page = _good(self._http.call("GET", SERVERS, params=params))
            rows, more = _rows(page, "servers"), _field(page, "more", bool)
            yield from rows
            if not more:
                return
            # By the last id and not by a count, so that a server that ends meanwhile hides no other.
            last = _field(rows[-1], "id", str) if rows else after
            if last == after:
                raise Unavailable("Acme's list goes on, but does not advance")
            after = last
        raise Unavailable(f"Acme's list has more than {MOST_PAGES} pages")


def _machine(server: Mapping[str, Any]) -> Machine:
    word = str(server.get("state", ""))
    return Machine(
        external_id=checked_id(_field(server, "id", str)),
        token=_field(server, "reference", str),
        name=_field(server, "name", str),
        phase=PHASES.get(word, Phase.UNKNOWN),
        raw_status=word,
        hourly_usd=usd(server.get("usd_per_hour")),
        created_at=moment(server.get("created_at")),
        gpu_type=str(server.get("gpu", "")),
    )


def _offer(plan: Mapping[str, Any]) -> Offer:
    price = usd(plan.get("usd_per_hour"))
    if price is None:
        raise Unavailable("a plan of Acme has no price that can be believed")
    return Offer(
        key=_field(plan, "id", str),
        hourly_usd=price,
        gpu_type=_field(plan, "gpu", str),
        gpu_count=1,
        vram_gb=_field(plan, "vram_gb", int),
    )


def _fits(offer: Offer, query: OfferQuery) -> bool:
    return (
        query.gpu_count == offer.gpu_count
        and (not query.gpu_types or offer.gpu_type in query.gpu_types)
        and (query.min_vram_gb is None or (offer.vram_gb or 0) >= query.min_vram_gb)
        and (query.max_hourly_usd is None or offer.hourly_usd <= query.max_hourly_usd)
    )


def _good(answer: Answer) -> Mapping[str, Any]:
    """The object of a success. A body that is not an object may hide anything, and is no answer."""
    if not answer.ok:
        raise _refusal(answer)
    if not isinstance(answer.body, dict):
        raise Unavailable(f"{answer.what}: answered something that is not an object")
    return answer.body


def _refusal(answer: Answer) -> ProviderError:
    """The error of a 4xx. A 429, a 5xx and a broken link never come here."""
    said = answer.body.get("error") if isinstance(answer.body, dict) else None
    if not isinstance(said, dict) or not isinstance(said.get("code"), str):
        return Unavailable(
            f"{answer.what}: answered {answer.status}, and the answer is not from Acme"
        )
    message = f"{answer.what}: {said['code']}, {said.get('message', '')}"
    return ERRORS.get(said["code"], Refused)(message)


def _rows(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    rows = _field(body, name, list)
    if not all(isinstance(row, dict) for row in rows):
        raise Unavailable(f"one of the {name} in Acme's answer is not an object")
    return rows


def _field(body: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A field that the answer must have."""
    value = body.get(name)
    if not isinstance(value, kind):
        raise Unavailable(f"Acme answered without a usable {name!r}")
    return value


def connect(*, options: Mapping[str, Any], secret: str | None, make_pacer: MakePacer) -> Provider:
    """The adapter of one account. `make_pacer` makes the pacer that counts its calls.

    Raises:
        ValueError: an option or the key is wrong. The message says which, and what is right.
    """
    if unknown := sorted(options.keys() - {"base_url"}):
        raise ValueError(f"acme: {', '.join(unknown)} unknown; use base_url")
    if not secret:
        raise ValueError("acme needs a key; make one in its console, under Access")
    base_url = checked_base_url(str(options.get("base_url", BASE_URL)))
    pacer = make_pacer(Acme.capabilities.rates)
    return Acme(VendorHttp(base_url=base_url, secret=secret, pacer=pacer))
