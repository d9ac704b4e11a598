"""Any provider as the manager uses it: calls are logged, offers are kept a while."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

import redis
import structlog
from pydantic import TypeAdapter

from pods.providers.base import Machine, Offer, OfferQuery, Offers, PodSpec, Provider
from pods.providers.errors import Declined, ProviderError, Unavailable

# Calls that change machines or money are logged. Calls that only read are for debugging.
_QUIET: Final = frozenset({"offers_listed", "machine_read", "machines_listed", "balance_read"})

# The offers, and why they are not all: as `Offers` has them.
_KEPT: Final = TypeAdapter(tuple[list[Offer], str])
_QUERY: Final = TypeAdapter(OfferQuery)

# The method of each event.
CALLS: Final[Mapping[str, str]] = {
    "offers_listed": "offers",
    "machine_created": "create",
    "machine_read": "status",
    "machines_listed": "list",
    "machine_stop_asked": "stop",
    "machine_start_asked": "start",
    "machine_destroy_asked": "destroy",
    "machine_logs_read": "logs",
    "balance_read": "balance",
}
# Told of each call: the method, how it ended ("ok", or the name of its error), and its seconds.
Counted = Callable[[str, str, float], None]
Traced = Callable[[str], AbstractContextManager[Any]]

log = structlog.get_logger(__name__)


class Observed:
    """A provider as the manager uses it. `account` names the credentials in events and in Redis.

    Every method raises ProviderError and nothing else, whatever the adapter raises: an error that
    is not one says nothing of what was done, and is Unavailable.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        account: str,
        client: "redis.Redis",
        counted: Counted | None = None,
        traced: Traced = nullcontext,
    ) -> None:
        """`client` keeps the offers for all workers; without Redis none are kept.

        `counted` is told of each call after it ended; `traced` makes a context around it.
        """
        self.name = provider.name
        self.capabilities = provider.capabilities
        self._provider = provider
        self._account = account
        self._client = client
        self._counted = counted
        self._traced = traced

    def __repr__(self) -> str:
        return f"Observed({self._provider!r}, account={self._account!r})"

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """The offers that can be rented now, at most `Capabilities.offers_ttl` old."""
        kept = self._kept(query)
        if kept is not None:
            return kept
        with self._called("offers_listed") as seen:
            found = self._provider.offers(query)
            seen["count"] = len(found)
        self._keep(query, found)
        return found

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        """Rent a machine."""
        with self._called("machine_created", name=spec.name, offer=spec.offer_key) as seen:
            machine = self._provider.create(spec, token=token)
            if not machine.external_id:
                raise Unavailable(f"the adapter of {self.name} made a machine and names no id")
            seen["external_id"] = machine.external_id
            return machine

    def status(self, external_id: str) -> Machine:
        """What the provider says about one machine."""
        with self._called("machine_read", external_id=external_id) as seen:
            machine = self._provider.status(external_id)
            seen["raw_status"] = machine.raw_status
            return machine

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """Every machine whose name begins with the tag."""
        with self._called("machines_listed", tag=tag) as seen:
            machines = self._provider.list_tagged(tag)
            seen["count"] = len(machines)
            return machines

    def stop(self, external_id: str) -> None:
        """Stop the machine and keep its disk."""
        with self._called("machine_stop_asked", external_id=external_id):
            self._provider.stop(external_id)

    def start(self, external_id: str) -> None:
        """Start a stopped machine again."""
        with self._called("machine_start_asked", external_id=external_id):
            self._provider.start(external_id)

    def destroy(self, external_id: str) -> None:
        """End the machine and its rent."""
        with self._called("machine_destroy_asked", external_id=external_id):
            self._provider.destroy(external_id)

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The last lines that the machine printed."""
        with self._called("machine_logs_read", external_id=external_id):
            return self._provider.logs(external_id, tail=tail)

    def balance(self) -> Decimal | None:
        """USD left on the account."""
        with self._called("balance_read"):
            return self._provider.balance()

    @contextmanager
    def _called(self, event: str, **ids: Any) -> Iterator[dict[str, Any]]:
        began = time.monotonic()
        bound = log.bind(account=self._account, **ids)
        seen: dict[str, Any] = {}
        result = "ok"
        try:
            with self._traced(f"{self.name} {CALLS[event]}"):
                yield seen
        except ProviderError as exc:
            result = type(exc).__name__
            tell = bound.info if isinstance(exc, Declined) else bound.warning
            tell("provider_failed", wanted=event, error=result, because=str(exc), **_ms(began))
            raise
        except Exception as exc:
            # An adapter is anybody's code. Its text may hold the key, so the log alone has it.
            result, error = Unavailable.__name__, type(exc).__name__
            bound.error("provider_broke", wanted=event, error=error, exc_info=True, **_ms(began))
            raise Unavailable(f"the adapter of {self.name} raised {error}; see the log") from exc
        finally:
            if self._counted is not None:
                self._counted(CALLS[event], result, time.monotonic() - began)
        tell = bound.debug if event in _QUIET else bound.info
        tell(event, **seen, **_ms(began))

    def _key(self, query: OfferQuery) -> str:
        asked = sha256(_QUERY.dump_json(query)).hexdigest()[:32]
        return f"podfleet:offers:{self._account}:{asked}"

    def _kept(self, query: OfferQuery) -> Sequence[Offer] | None:
        if not self.capabilities.offers_ttl:
            return None
        try:
            kept = self._client.get(self._key(query))
            if kept is None:
                return None
            offers, partial = _KEPT.validate_json(kept)
            return Offers(offers, partial=partial)
        except (redis.RedisError, ValueError) as exc:
            # Another version of Podfleet wrote it: search again.
            log.warning("offers_unreadable", account=self._account, error=type(exc).__name__)
            return None

    def _keep(self, query: OfferQuery, found: Sequence[Offer]) -> None:
        lifetime = self.capabilities.offers_ttl // timedelta(milliseconds=1)
        if not lifetime or getattr(found, "cut_short", False):
            return
        try:
            self._client.set(
                self._key(query),
                _KEPT.dump_json((list(found), getattr(found, "partial", ""))),
                px=lifetime,
            )
        except redis.RedisError as exc:
            log.warning("offers_not_kept", account=self._account, error=type(exc).__name__)


def _ms(began: float) -> dict[str, int]:
    return {"milliseconds": int((time.monotonic() - began) * 1000)}
