"""Vast.ai's API over its market: routes, keys, rate limits, and unusual answers."""

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from pods.emulators.base import Backing, Clock, Reply, Request
from pods.emulators.vastai_contracts import Contract, Pace, Refusal, Slot
from pods.emulators.vastai_requests import checked_create
from pods.emulators.vastai_rows import (
    OFFERS_AT_MOST,
    instance_row,
    matching,
    offer_row,
    ordered,
    page_of,
)
from pods.emulators.vastai_state import FIRST_ID, Market

# Requests of one key in so many seconds, by endpoint: `x-rate-limit` in Vast.ai's files.
Limit = tuple[int, float]
VENDOR_LIMITS: Final[Mapping[str, Limit]] = {
    "search": (10, 60.0),
    "create": (1, 4.5),
    "status": (1, 2.0),
    "list": (1, 1.0),
    "manage": (1, 1.0),
    "destroy": (1, 3.0),
    "bid": (1, 5.5),
}
LOG_STORE: Final = "/emulated-log-store"
QUEUED: Final = "Required resources are currently unavailable, state change queued."


@dataclass(slots=True, kw_only=True)
class Quirks:
    """Faults in Vast.ai's own answers, until they are switched off."""

    ignored_filters: set[str] = field(default_factory=set)
    shows_taken_offers: bool = False
    search_quota: int | None = None  # searches left today
    no_such_ask: str = ""  # the answer to a create whose offer is gone: 404, 410 or 400
    create_says_no: str = ""  # a create answers 200 with `success: false` and this text
    unfunded: str = ""  # the code of a create without credit
    errors_create: int = 0  # this many creates answer an error, and make a stopped contract
    defects: list[str] = field(default_factory=list)  # of the next contracts: stuck, pull, oci
    keeps_destroyed: bool = False  # a destroy succeeds, but the contract stays
    hides: float = 0.0  # seconds for which the next destroyed contract is only hidden: it bills on
    gone_code: str = "no_such_instance"  # the code of a destroy; `not_found` is the other one
    gone_shape: str = "null"  # how a GET shows that it is gone: null, object, list
    bad_key_status: int = 404
    log_refusals: int = 2  # how often the URL of a log answers 403 at first


class VastaiEmulator:
    """The part of Vast.ai's API that a renter uses. Every key is good, unless `keys` names some."""

    name = "vastai"

    def __init__(
        self,
        *,
        clock: Clock,
        pace: Pace | None = None,
        credit: Decimal = Decimal(100),
        keys: set[str] | None = None,
        limits: Mapping[str, Limit] | None = None,
        backing: Backing | None = None,
        first_id: int = FIRST_ID,
    ) -> None:
        """`limits`: requests of a key in so many seconds, by endpoint. VENDOR_LIMITS are Vast.ai's."""
        self.market = Market(
            clock=clock, pace=pace, credit=credit, backing=backing, first_id=first_id
        )
        self.quirks = Quirks()
        self.keys = keys
        self.limits = dict(limits or {})
        self.leaked: list[str] = []  # requests to the log store that had an Authorization header
        self._asked: dict[tuple[str, str], deque[datetime]] = {}
        self._day = self.market.now().date()
        self._quota_used = 0
        self._logs: dict[str, str] = {}
        self._log_asked: dict[str, int] = {}
        routes: list[tuple[str, str, str, Callable[..., Reply]]] = [
            ("POST", r"/api/v0/bundles/", "search", self._search),
            ("PUT", r"/api/v0/asks/(\d+)/", "create", self._create),
            ("GET", r"/api/v1/instances/", "list", self._list),
            ("GET", r"/api/v0/instances/", "", self._old_list),
            ("GET", r"/api/v0/instances/(\d+)/?", "status", self._status),
            ("PUT", r"/api/v0/instances/(\d+)/", "manage", self._manage),
            ("DELETE", r"/api/v0/instances/(\d+)/", "destroy", self._destroy),
            ("PUT", r"/api/v0/instances/bid_price/(\d+)/", "bid", self._bid),
            ("PUT", r"/api/v0/instances/request_logs/(\d+)/", "", self._request_logs),
            ("GET", r"/api/v0/users/current/?", "", self._user),
        ]
        self._routes = [(m, re.compile(p), name, act) for m, p, name, act in routes]

    def answer(self, request: Request) -> Reply:
        """The answer that Vast.ai would give."""
        self.market.settle()
        if request.path.startswith(LOG_STORE):
            return self._stored_log(request)
        for method, path, endpoint, act in self._routes:
            found = path.fullmatch(request.path)
            if found is None or method != request.method:
                continue
            try:
                self._admit(request, endpoint, found[1] if found.re.groups else "")
                return act(request, *(int(g) for g in found.groups()))
            except Refusal as exc:
                return Reply(status=exc.status, json=exc.body)
            except _TooFrequent as exc:
                return exc.reply
        return Reply(status=404, text="<html>Not Found</html>", content_type="text/html")

    def tick(self) -> None:
        """Do everything that is due."""
        self.market.settle()

    # Keys and rate limits.

    def _admit(self, request: Request, endpoint: str, instance: str) -> None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not key:
            raise Refusal(403, "auth_error", "This action requires login.")
        if key.startswith("instance-key-"):
            own = key == f"instance-key-{instance}" and int(instance) in self.market.contracts
            if not own or endpoint not in {"manage", "destroy"}:
                raise Refusal(401, "auth_error", "Invalid user key")
        elif self.keys is not None and key not in self.keys:
            raise Refusal(self.quirks.bad_key_status, "auth_error", "Invalid user key")
        if endpoint in self.limits:
            self._count(endpoint, key, *self.limits[endpoint])

    def _count(self, endpoint: str, key: str, most: int, seconds: float) -> None:
        asked = self._asked.setdefault((endpoint, key), deque(maxlen=most))
        if len(asked) == most and self.market.now() - asked[0] < timedelta(seconds=seconds):
            raise _TooFrequent(endpoint, seconds / most)
        asked.append(self.market.now())

    # The market.

    def _search(self, request: Request) -> Reply:
        body = _body(request)
        self._count_search()
        bids = body.get("type") == "bid"
        storage = Decimal(str(body.get("allocated_storage", 8)))
        slots = list(self.market.offered())
        if self.quirks.shows_taken_offers:
            slots = [s for s in self.market.slots if s.listed]
        now = self.market.now()
        rows = [offer_row(slot, bids=bids, storage=storage, now=now) for slot in slots]
        defaults = {
            "verified": {"eq": True},
            "external": {"eq": False},
            "rentable": {"eq": True},
            "rented": {"eq": False},
        }
        found = matching(rows, {**defaults, **body}, self.quirks.ignored_filters)
        limit = min(int(body.get("limit", OFFERS_AT_MOST)), OFFERS_AT_MOST)
        return Reply(json={"offers": ordered(found, body.get("order", []))[:limit]})

    def _count_search(self) -> None:
        today = self.market.now().date()
        if today != self._day:
            self._day, self._quota_used = today, 0
        if self.quirks.search_quota is not None and self._quota_used >= self.quirks.search_quota:
            raise Refusal(429, "search_quota_exceeded", "Daily search quota exceeded")
        self._quota_used += 1

    def _create(self, request: Request, ask_id: int) -> Reply:
        body = _body(request)
        facts = checked_create(body)
        bid = None if body.get("price") is None else Decimal(str(body["price"]))
        slot = self._slot(ask_id)
        if self.quirks.unfunded:
            raise Refusal(400, self.quirks.unfunded, "Your account lacks credit")
        if self.quirks.create_says_no:
            return Reply(json={"success": False, "msg": self.quirks.create_says_no})
        refuse = self.quirks.errors_create > 0
        too_low = bid is not None and bid < slot.price_to_beat()
        contract = self.market.rent(slot, bid=bid, cancel=bool(body.get("cancel_unavail")), **facts)
        if self.quirks.defects:
            contract.defect = self.quirks.defects.pop(0)
        if refuse:
            self.quirks.errors_create -= 1
            self.market.stop(contract)
        if refuse or too_low:
            raise Refusal(400, "invalid_price", "bid too low", new_contract=contract.id)
        return Reply(
            json={"success": True, "new_contract": contract.id, "instance_api_key": contract.key}
        )

    def _slot(self, ask_id: int) -> Slot:
        slot = next((s for s in self.market.slots if s.ask_id == ask_id), None)
        offered = slot is not None and slot.listed and slot.ends_at > self.market.now()
        if slot is not None and offered and not self.quirks.no_such_ask:
            return slot
        shape = self.quirks.no_such_ask or "404"
        number, tail = (
            ("410/3907", "no longer available")
            if shape == "410"
            else (
                f"{shape}/3603",
                "not available",
            )
        )
        raise Refusal(
            int(shape),
            "no_such_ask" if shape == "410" else "invalid_args",
            f"error {number}: no_such_ask Instance type by id {ask_id} is {tail}.",
            ask_id=ask_id,
        )

    # Instances.

    def _contract(self, number: int, *, code: str = "no_such_instance") -> Contract:
        contract = self.market.contracts.get(number)
        if contract is None or contract.is_hidden(self.market.now()):
            raise Refusal(404, code, f"Instance {number} not found.")
        return contract

    def _shown(self, lag: timedelta) -> list[Contract]:
        now, known = self.market.now(), self.market.contracts.values()
        return [c for c in known if now - c.created_at >= lag and not c.is_hidden(now)]

    def _list(self, request: Request) -> Reply:
        rows = [instance_row(c) for c in self._shown(self.market.pace.list_lag)]
        page, token, found = page_of(rows, request.param)
        counts: dict[str, int] = {}
        for row in found:
            counts[row["label"] or ""] = counts.get(row["label"] or "", 0) + 1
        return Reply(
            json={
                "success": True,
                "instances_found": len(page),
                "total_instances": len(found),
                "label_counts": counts,
                "next_token": token,
                "instances": page,
            }
        )

    def _old_list(self, _: Request) -> Reply:
        raise Refusal(410, "deprecated_endpoint", "use /api/v1/instances/")

    def _status(self, _: Request, number: int) -> Reply:
        shown = {c.id: c for c in self._shown(self.market.pace.status_lag)}
        gone: Mapping[str, Any] = {"null": None, "object": {}, "list": []}
        row = instance_row(shown[number]) if number in shown else gone[self.quirks.gone_shape]
        return Reply(json={"instances": row})

    def _manage(self, request: Request, number: int) -> Reply:
        body, contract = _body(request), self._contract(number)
        if "label" in body:
            contract.label = str(body["label"])
            return Reply(json={"success": True})
        if body.get("state") == "stopped":
            self.market.stop(contract)
            return Reply(json={"success": True})
        if body.get("state") != "running":
            raise Refusal(400, "invalid_args", "error 400/3467: Invalid args: state")
        if self.market.start(contract):
            return Reply(json={"success": True})
        return Reply(json={"success": False, "msg": QUEUED})

    def _destroy(self, request: Request, number: int) -> Reply:
        _body(request)
        contract = self._contract(number, code=self.quirks.gone_code)
        if self.quirks.hides:
            contract.hidden_until = self.market.now() + timedelta(seconds=self.quirks.hides)
            self.quirks.hides = 0.0
        elif not self.quirks.keeps_destroyed:
            self.market.destroy(contract)
        return Reply(json={"success": True})

    def _bid(self, request: Request, number: int) -> Reply:
        contract, price = self._contract(number), Decimal(str(_body(request).get("price") or 0))
        if contract.bid is None or not Decimal("0.001") <= price <= 32 * contract.slot.num_gpus:
            raise Refusal(400, "invalid_args", "Please set a bid price >= 0.001.")
        self.market.rebid(contract, price)
        return Reply(json={"success": True})

    # Logs and the account.

    def _request_logs(self, request: Request, number: int) -> Reply:
        body = _body(request)
        contract = self.market.contracts.get(number)
        if contract is None:
            raise Refusal(404, "invalid_id", "Invalid instance id.")
        name = f"{LOG_STORE}/{number}-{len(self._logs)}.log"
        lines = self._lines(contract, daemon=body.get("daemon_logs") == "true")
        self._logs[name] = "\n".join(lines[-int(body.get("tail") or 1000) :]) + "\n"
        url = f"http://{request.headers['host']}{name}?X-Signature=abc%2Fdef"
        return Reply(json={"success": True, "result_url": url})

    def _lines(self, contract: Contract, *, daemon: bool) -> list[str]:
        backing = self.market.backing
        if daemon or contract.status_msg is None:
            return [contract.status_msg or "waiting for the host"]
        if backing is None:
            return [contract.status_msg, f"container {contract.id} says hello"]
        return list(backing.lines(str(contract.id)))

    def _stored_log(self, request: Request) -> Reply:
        if "authorization" in request.headers:
            self.leaked.append(request.target)
        asked = self._log_asked[request.path] = self._log_asked.get(request.path, 0) + 1
        known = request.path in self._logs and request.param("X-Signature") == "abc/def"
        if not known or asked <= self.quirks.log_refusals:
            denied = "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
            return Reply(status=403, text=denied, content_type="application/xml")
        return Reply(text=self._logs[request.path], content_type="text/plain")

    def _user(self, _: Request) -> Reply:
        return Reply(
            json={
                "id": 12_345,
                "email": "ops@example.com",
                "credit": self.market.credit_left(),
                "balance": 0.0,
                "balance_threshold": 5.0,
            }
        )


class _TooFrequent(Exception):
    """The 429 of a request that came too soon, in the words of the endpoint's document."""

    def __init__(self, endpoint: str, threshold: float) -> None:
        super().__init__(endpoint)
        text = f"API requests too frequent endpoint threshold={threshold}"
        self.reply = Reply(status=429, json={"detail": text})
        if endpoint == "destroy":
            body = {"success": False, "error": "rate_limit_exceeded", "msg": text}
            self.reply = Reply(status=429, json=body)
        elif endpoint == "search":
            text = f"API requests too frequent: endpoint threshold={threshold}*1.0"
            self.reply = Reply(status=429, text=text, content_type="text/plain")


def _body(request: Request) -> dict[str, Any]:
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "invalid_args", "error 400/1782: Invalid args: invalid json")
    return body
