"""An emulator of Acme Cloud, the vendor of the example in docs/howto/provider.md."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pods.emulators.base import Clock, Reply, Request

SERVERS = "/v1/servers"
BOOT = timedelta(seconds=3)
STATUSES = {"bad_key": 401, "no_money": 402, "not_found": 404, "sold_out": 409, "invalid": 422}


class Refusal(Exception):
    """A request that Acme declines."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True, kw_only=True)
class Plan:
    """A kind of server for rent."""

    gpu: str
    vram_gb: int
    usd_per_hour: float
    free: int


@dataclass(slots=True, kw_only=True)
class Server:
    """A rented machine."""

    id: str
    order: dict[str, Any]
    plan: Plan
    created_at: datetime
    seen_from: datetime


@dataclass(slots=True)
class AcmeEmulator:
    """One account at Acme. A test may change the attributes."""

    clock: Clock
    page_size: int = 3
    lag: timedelta = timedelta(0)  # how long a new server is missing from every answer
    key: str | None = None  # None: every key is accepted
    has_money: bool = True
    name: str = "acme"
    plans: dict[str, Plan] = field(
        default_factory=lambda: {
            "small": Plan(gpu="RTX 4090", vram_gb=24, usd_per_hour=0.4, free=20),
            "large": Plan(gpu="H100 SXM", vram_gb=80, usd_per_hour=2.5, free=4),
        }
    )
    servers: dict[str, Server] = field(default_factory=dict)
    _made: int = 0

    def tick(self) -> None:
        """Do nothing: a server's state follows from its age."""

    def answer(self, request: Request) -> Reply:
        """The answer of Acme to a request."""
        try:
            if not self._may_come_in(request.headers.get("authorization", "")):
                raise Refusal("bad_key", "this key is not valid")
            return self._routed(request)
        except Refusal as exc:
            said = {"error": {"code": exc.code, "message": str(exc)}}
            return Reply(status=STATUSES[exc.code], json=said)

    def make(self, order: dict[str, Any]) -> Server:
        """Rent a server, or return the one with the same reference."""
        for server in self.servers.values():
            if server.order["reference"] == order["reference"]:
                return server
        plan = self.plans.get(order["plan"])
        if plan is None or not plan.free:
            raise Refusal("sold_out", "nothing of this plan is free")
        if not self.has_money:
            raise Refusal("no_money", "top up your account")
        plan.free -= 1
        self._made += 1
        now = self.clock()
        server = Server(
            id=f"srv-{self._made:06}",
            order=order,
            plan=plan,
            created_at=now,
            seen_from=now + self.lag,
        )
        self.servers[server.id] = server
        return server

    def end(self, server_id: str) -> None:
        """End a server; its GPU is free again."""
        self.servers.pop(server_id).plan.free += 1

    def _may_come_in(self, authorization: str) -> bool:
        wanted = "Bearer " if self.key is None else f"Bearer {self.key}"
        return authorization.startswith(wanted) and len(authorization) > len("Bearer ")

    def _routed(self, request: Request) -> Reply:
        routes: dict[tuple[str, str], Callable[[Request, str], Reply]] = {
            ("GET", "/v1/plans()"): self._list_plans,
            ("GET", f"{SERVERS}()"): self._list_servers,
            ("POST", f"{SERVERS}()"): self._create,
            ("GET", f"{SERVERS}/([^/]+)"): self._show,
            ("DELETE", f"{SERVERS}/([^/]+)"): self._delete,
            ("GET", f"{SERVERS}/([^/]+)/log"): self._log,
        }
        for (method, pattern), route in routes.items():
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                return route(request, found[1])
        raise Refusal("not_found", "no such route")

    def _list_plans(self, _: Request, __: str) -> Reply:
        plans = [
            {
                "id": name,
                "gpu": plan.gpu,
                "vram_gb": plan.vram_gb,
                "usd_per_hour": plan.usd_per_hour,
                "free": plan.free,
            }
            for name, plan in self.plans.items()
        ]
        return Reply(json={"plans": plans})

    def _list_servers(self, request: Request, _: str) -> Reply:
        rows = sorted(
            (s for s in self._seen() if s.id > request.param("after")), key=lambda s: s.id
        )
        page = rows[: self.page_size]
        body = {"servers": [self._row(s) for s in page], "more": len(rows) > len(page)}
        return Reply(json=body)

    def _create(self, request: Request, _: str) -> Reply:
        order = request.json()
        texts = ("reference", "name", "plan", "image")
        if not isinstance(order, dict) or not all(isinstance(order.get(t), str) for t in texts):
            raise Refusal("invalid", "an order has a reference, a name, a plan and an image")
        return Reply(status=201, json={"server": self._row(self.make(order))})

    def _show(self, _: Request, server_id: str) -> Reply:
        return Reply(json={"server": self._row(self._known(server_id))})

    def _delete(self, _: Request, server_id: str) -> Reply:
        self.end(self._known(server_id).id)
        return Reply(status=204)

    def _log(self, _: Request, server_id: str) -> Reply:
        server = self._known(server_id)
        return Reply(json={"lines": [f"pulled {server.order['image']}", "hello"]})

    def _seen(self) -> list[Server]:
        return [s for s in self.servers.values() if s.seen_from <= self.clock()]

    def _known(self, server_id: str) -> Server:
        server = next((s for s in self._seen() if s.id == server_id), None)
        if server is None:
            raise Refusal("not_found", "no such server")
        return server

    def _row(self, server: Server) -> dict[str, Any]:
        return {
            "id": server.id,
            "reference": server.order["reference"],
            "name": server.order["name"],
            "state": "on" if self.clock() - server.created_at >= BOOT else "starting",
            "gpu": server.plan.gpu,
            "usd_per_hour": server.plan.usd_per_hour,
            "created_at": server.created_at.isoformat(),
        }
