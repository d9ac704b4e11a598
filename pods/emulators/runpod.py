"""RunPod's REST API v2 over the state machine, and the GraphQL queries that v2 lacks."""

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pods.emulators.base import Reply, Request
from pods.emulators.registries import Kept
from pods.emulators.runpod_problems import Problem, TooMany, graphql_error, problem_reply
from pods.emulators.runpod_requests import (
    object_in,
    registry_errors,
    shape_errors,
    unknown_field,
)
from pods.emulators.runpod_state import ACTIONS, Pod, RunPodState, Status

PATCH_FIELDS: Final = {
    "name",
    "image",
    "args",
    "disk",
    "ports",
    "env",
    "registry",
    "mounts",
    "locked",
}
CATALOG_FILTERS: Final = (
    "product",
    "count",
    "cloud",
    "countryCodes",
    "cudaVersions",
    "minCudaVersion",
)
AVAILABILITY: Final = ((1, "NONE"), (2, "LOW"), (5, "MEDIUM"))
CENTER_NAMES: Final = {"EU-RO-1": "EU Romania 1", "US-TX-3": "US Texas 3", "US-KS-2": "US Kansas 2"}
CUDA: Final = "12.8"
WINDOWS: Final = {"minute": 60, "hour": 3600, "day": 86400}

POD_KEY: Final = "pod-key-of-"

Route = Callable[["RunPodEmulator", Request, str], Reply]


class RunPodEmulator:
    """The API of one account. Every key is good, unless `keys` names the good ones."""

    name = "runpod"

    def __init__(
        self,
        state: RunPodState,
        *,
        keys: set[str] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """`limits`: requests in each of `minute`, `hour`, `day`. None: there are no limits."""
        self.state = state
        self.keys = keys
        self.denied: set[str] = set()  # methods that the key may not use
        self.retired = False  # answers 410, as v1 does since 2026-11-15
        self.graphql_works = True
        self.pod_keys_on_v2 = False  # it is not known whether RunPod allows this
        self.chatty = False  # a log stream sends comments while nothing is printed
        self.limits = dict(limits or {})
        self._used: dict[str, tuple[int, int]] = {}  # by window: its number, and the requests in it

    def tick(self) -> None:
        """Do everything that is due."""
        self.state.tick()

    def answer(self, request: Request) -> Reply:
        """The answer that RunPod would give."""
        headers = {"x-request-id": str(uuid.uuid4())}
        try:
            self._authorize(request)
            headers.update(self._count())
            reply = self._routed(request)
        except Problem as problem:
            reply = problem_reply(problem)
        return Reply(
            status=reply.status,
            json=reply.json,
            text=reply.text,
            stream=reply.stream,
            content_type=reply.content_type,
            headers={**headers, **reply.headers},
        )

    def _authorize(self, request: Request) -> None:
        if self.retired:
            raise Problem(410, "this API version has been retired")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Problem(401, "missing bearer token")
        if key.startswith(POD_KEY):
            self._authorize_pod(request, key.removeprefix(POD_KEY))
        elif self.keys is not None and key not in self.keys:
            raise Problem(401, "invalid bearer token")
        if request.method in self.denied:
            raise Problem(403, "access denied")

    def _authorize_pod(self, request: Request, pod_id: str) -> None:
        """A pod's own key. It works for GraphQL (§10), and for REST v2 only if `pod_keys_on_v2`."""
        if pod_id not in {pod.id for pod in self.state.living()}:
            raise Problem(401, "invalid bearer token")
        own = request.path == f"/v2/pods/{pod_id}"
        if request.path != "/graphql" and not (own and self.pod_keys_on_v2):
            raise Problem(403, "access denied")

    def _count(self) -> Mapping[str, str]:
        if not self.limits:
            return {}
        now = self.state.clock().timestamp()
        left: list[str] = []
        for window, quota in self.limits.items():
            length = WINDOWS[window]
            number = int(now // length)
            before, used = self._used.get(window, (number, 0))
            used = used + 1 if before == number else 1
            self._used[window] = (number, used)
            reset = int((number + 1) * length - now) + 1
            if used > quota:
                raise TooMany(window, reset)
            left.append(f'"{window}";r={quota - used};t={reset}')
        policy = [f'"{w}";q={q};w={WINDOWS[w]}' for w, q in self.limits.items()]
        return {"RateLimit": ", ".join(left), "RateLimit-Policy": ", ".join(policy)}

    def _routed(self, request: Request) -> Reply:
        known = False
        for pattern, methods in ROUTES:
            if match := re.fullmatch(pattern, request.path):
                known = True
                if route := methods.get(request.method):
                    return route(self, request, *(match.groups() or ("",)))
        raise Problem(405, "method not allowed") if known else Problem(404, "resource not found")

    def list_gpus(self, request: Request, _: str) -> Reply:
        """`GET /v2/catalog/gpus`."""
        wants = request.param("include") == "AVAILABILITY"
        if wants != ("product" in request.query):
            raise Problem(400, "include=AVAILABILITY and product require each other")
        if not wants and any(name in request.query for name in CATALOG_FILTERS):
            raise Problem(400, "filters require include=AVAILABILITY")
        count, cloud = int(request.param("count", "1")), request.param("cloud", "SECURE")
        if cloud not in {"SECURE", "COMMUNITY"} or count < 1:
            raise Problem(422, "Request validation failed.", errors=["$.cloud or $.count"])
        rows = []
        for gpu, centers in self.state.gpus(count, cloud):
            row: dict[str, Any] = {
                "id": gpu.id,
                "name": gpu.name,
                "pool": None,
                "manufacturer": "NVIDIA",
                "memory": gpu.memory,
                "secure": any(tier == "SECURE" for tier, _ in gpu.stock),
                "community": any(tier == "COMMUNITY" for tier, _ in gpu.stock),
                "price": {"secure": gpu.secure_usd, "community": gpu.community_usd},
                "maxCount": {"secure": gpu.max_count, "community": gpu.max_count},
            }
            if wants:
                row["availability"] = _level(sum(centers.values()))
                row["cudaVersions"] = [{"version": CUDA, "available": bool(centers)}]
            if wants and centers:
                row["dataCenters"] = [
                    {"id": dc, "name": CENTER_NAMES.get(dc, dc), "availability": _level(free)}
                    for dc, free in centers.items()
                ]
            rows.append(row)
        return Reply(json={"gpus": rows})

    def list_pods(self, request: Request, _: str) -> Reply:
        """`GET /v2/pods`. Unknown parameters are ignored."""
        pods, cursor = self.state.page(request.param("cursor"))
        body: dict[str, Any] = {"pods": [self.pod_json(pod) for pod in pods]}
        if self.state.page_size is not None:
            body["pagination"] = {"nextCursor": cursor, "hasNextPage": cursor is not None}
        return Reply(json=body)

    def create_pod(self, request: Request, _: str) -> Reply:
        """`POST /v2/pods`."""
        body = object_in(request)
        if errors := shape_errors(body):
            raise Problem(422, "Request validation failed.", errors=errors)
        if ("gpu" in body) == ("cpu" in body):
            raise Problem(400, "exactly one of gpu and cpu must be set")
        if len(body.get("mounts", {})) > 1:
            raise Problem(400, "mounts.persistent and mounts.network are mutually exclusive")
        if "cpu" in body:
            raise Problem(400, "no instances available")
        gpu = body["gpu"]
        if gpu.get("allowedCudaVersions") and gpu.get("minCudaVersion"):
            raise Problem(400, "allowedCudaVersions and minCudaVersion are mutually exclusive")
        if "count" not in gpu:
            raise Problem(400, "There are no instances available")  # seen on 2026-08-04
        return Reply(status=201, json=self.pod_json(self.state.create(body)))

    def get_pod(self, _: Request, pod_id: str) -> Reply:
        """`GET /v2/pods/{id}`."""
        return Reply(json=self.pod_json(self.state.shown(pod_id)))

    def patch_pod(self, request: Request, pod_id: str) -> Reply:
        """`PATCH /v2/pods/{id}`."""
        body = object_in(request)
        if stray := sorted(body.keys() - PATCH_FIELDS):
            raise unknown_field(stray[0])
        return Reply(json=self.pod_json(self.state.patch(pod_id, body)))

    def delete_pod(self, _: Request, pod_id: str) -> Reply:
        """`DELETE /v2/pods/{id}`."""
        self.state.delete(pod_id)
        return Reply(status=204)

    def act_on_pod(self, request: Request, pod_id: str) -> Reply:
        """`POST /v2/pods/{id}/action`."""
        body = object_in(request)
        if body.keys() != {"action"} or body["action"] not in {
            a for v in ACTIONS.values() for a in v
        }:
            raise Problem(422, "Request validation failed.", errors=["$.action: not an action"])
        pod = self.state.act(pod_id, body["action"])
        return (
            Reply(status=204) if body["action"] == "terminate" else Reply(json=self.pod_json(pod))
        )

    def pod_logs(self, request: Request, pod_id: str) -> Reply:
        """`GET /v2/pods/{id}/logs`: the lines so far, then new ones until the client leaves."""
        source, tail = request.param("source"), int(request.param("tail", "100"))
        if source not in {"", "container", "system"} or not 0 <= tail <= 5000:
            raise Problem(422, "Request validation failed.", errors=["$.source or $.tail"])
        lines = self.state.log(pod_id, source, tail)

        def stream(closing: threading.Event) -> Iterator[bytes]:
            for number, (at, origin, line) in enumerate(lines):
                frame = json.dumps({"ts": _time(at), "source": origin, "line": line})
                yield f"id: {_time(at)}/{number:012}\ndata: {frame}\n\n".encode()
            while not closing.wait(0.2):
                yield b": still here\n\n" if self.chatty else b""

        return Reply(
            stream=stream,
            content_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    def list_registries(self, _: Request, __: str) -> Reply:
        """`GET /v2/registries`. It never shows a login."""
        rows = [kept.shown(id_) for id_, kept in self.state.registries.items()]
        return Reply(json={"registries": rows})

    def create_registry(self, request: Request, _: str) -> Reply:
        """`POST /v2/registries`."""
        body = object_in(request)
        if errors := registry_errors(body):
            raise Problem(422, "Request validation failed.", errors=errors)
        kept = Kept(name=body["name"], user=body["username"], password=body["password"])
        return Reply(status=201, json=kept.shown(self.state.keep_registry(kept)))

    def delete_registry(self, _: Request, registry_id: str) -> Reply:
        """`DELETE /v2/registries/{id}`."""
        self.state.delete_registry(registry_id)
        return Reply(status=204)

    def graphql(self, request: Request, _: str) -> Reply:
        """`POST /graphql`. Errors come with a 200."""
        query = str(object_in(request).get("query", ""))
        _, of_pod, pod_id = request.headers["authorization"].partition(POD_KEY)
        if self.graphql_works and "podTerminate" in query:
            return self._terminate(object_in(request), own=pod_id if of_pod else None)
        if of_pod:
            return graphql_error("FORBIDDEN")
        if not self.graphql_works or "myself" not in query:
            return graphql_error("RUNPOD")
        spend = self.state.bill.hourly_usd()
        funds = round(self.state.funds(), 2)
        mine = {
            "id": "user_2abc",
            "clientBalance": funds,
            "currentSpendPerHr": spend,
            "spendLimit": 80,
        }
        return Reply(json={"data": {"myself": mine}})

    def _terminate(self, body: Mapping[str, Any], *, own: str | None) -> Reply:
        wanted = str(body.get("variables", {}).get("id", ""))
        if wanted not in {pod.id for pod in self.state.living()}:
            return graphql_error("POD_NOT_FOUND")
        if own not in {None, wanted}:
            return graphql_error("FORBIDDEN")
        self.state.delete(wanted)
        return Reply(json={"data": {"podTerminate": None}})

    def pod_json(self, pod: Pod) -> dict[str, Any]:
        """A pod as the API shows it, with its environment unencrypted."""
        now = self.state.clock()
        status, up = pod.status(now), pod.up_since(now)
        placed = status is not Status.PROVISIONING
        return {
            "id": pod.id,
            "name": pod.request["name"],
            "status": status.value,
            "actions": list(ACTIONS[status]),
            "image": pod.request.get("image", ""),
            "args": pod.request.get("args", ""),
            "disk": pod.request.get("disk", 20),
            "mounts": pod.request.get("mounts", {}),
            "ports": pod.request.get("ports", []),
            "env": pod.request.get("env", {}),
            "registry": pod.request.get("registry"),
            "gpu": {
                "id": pod.gpu,
                "count": 0 if pod.gpuless else pod.count,
                "vcpuCount": 16,
            },  # newer than RunPod's document
            "cloud": pod.cloud,
            "dataCenterId": pod.data_center if placed else None,
            "cudaVersion": CUDA if placed else None,
            "ssh": {"proxy": _proxy(pod) if placed else None, "direct": None},
            "template": None,
            "cost": self.state.cost(pod),
            "locked": pod.locked,
            "runtime": None if up is None else _runtime(up, now),
            "globalNetworking": {"enabled": False},
            "createdAt": _time(pod.created_at),
            "startedAt": None if up is None else _time(up),
        }


ROUTES: Final[tuple[tuple[str, Mapping[str, Route]], ...]] = (
    (r"/v2/catalog/gpus", {"GET": RunPodEmulator.list_gpus}),
    (r"/v2/pods", {"GET": RunPodEmulator.list_pods, "POST": RunPodEmulator.create_pod}),
    (
        r"/v2/pods/([^/]+)",
        {
            "GET": RunPodEmulator.get_pod,
            "PATCH": RunPodEmulator.patch_pod,
            "DELETE": RunPodEmulator.delete_pod,
        },
    ),
    (r"/v2/pods/([^/]+)/action", {"POST": RunPodEmulator.act_on_pod}),
    (r"/v2/pods/([^/]+)/logs", {"GET": RunPodEmulator.pod_logs}),
    (
        r"/v2/registries",
        {"GET": RunPodEmulator.list_registries, "POST": RunPodEmulator.create_registry},
    ),
    (r"/v2/registries/([^/]+)", {"DELETE": RunPodEmulator.delete_registry}),
    (r"/graphql", {"POST": RunPodEmulator.graphql}),
)


def _level(free: int) -> str:
    return next((word for below, word in AVAILABILITY if free < below), "HIGH")


def _proxy(pod: Pod) -> dict[str, Any]:
    user = f"{pod.id}-64411eb2"
    return {
        "host": "ssh.runpod.io",
        "port": 22,
        "username": user,
        "command": f"ssh {user}@ssh.runpod.io",
    }


def _runtime(up: datetime, now: datetime) -> dict[str, Any]:
    return {
        "uptime": int((now - up).total_seconds()),
        "gpus": [{"util": 93, "memoryUtil": 61}],
        "cpu": {"util": 12},
        "memory": {"util": 30},
        "ports": [],
    }


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
