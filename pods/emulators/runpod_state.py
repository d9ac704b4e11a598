"""RunPod as a state machine: pods, stock and the bill. No HTTP, no threads, no clock of its own.

A simulation uses it in virtual time, and `runpod.py` serves it. It follows RunPod's document of
2026-08-18. Where recordings differ from the document, it follows the recordings.
"""

import random
import shlex
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from pods.emulators.base import Backing, Clock
from pods.emulators.bill import Bill
from pods.emulators.registries import REFUSED, Kept, PrivateImages
from pods.emulators.runpod_catalog import GpuType, default_catalog
from pods.emulators.runpod_problems import Problem, cursor_of, offset_in

# $/GB/month of a volume while its pod is stopped.
STOPPED_VOLUME_USD: Final = Decimal("0.20")
HOURS_A_MONTH: Final = 730
_ALPHABET: Final = string.ascii_lowercase + string.digits


class Status(StrEnum):
    """The states of a pod in v2."""

    PROVISIONING = "PROVISIONING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    EXITED = "EXITED"
    ERROR = "ERROR"
    TERMINATED = "TERMINATED"


ACTIONS: Final[Mapping[Status, tuple[str, ...]]] = {
    Status.PROVISIONING: ("stop", "terminate"),
    Status.STARTING: ("stop", "terminate"),
    Status.RUNNING: ("stop", "restart", "terminate"),
    Status.EXITED: ("start", "terminate"),
    Status.ERROR: ("start", "terminate"),
    Status.TERMINATED: (),
}
NO_INSTANCES: Final = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)
HOST_FULL: Final = "There are not enough free GPUs on the host machine to start this pod."


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """How long each step of a boot takes, in seconds."""

    provisioning: float = 0.2
    starting: float = 0.2
    pulling: float = 0.3  # RUNNING, without a runtime


@dataclass(slots=True, kw_only=True)
class Pod:
    """One pod. Its status follows from the time at which its boot began."""

    id: str
    request: Mapping[str, Any]
    cloud: str
    data_center: str
    hourly_usd: Decimal
    created_at: datetime
    boot: Boot
    boot_at: datetime  # when this boot began
    halted: Status | None = None  # EXITED, ERROR or TERMINATED; None: booting or running
    locked: bool = False
    gpuless: bool = False  # it came back without the GPUs that it bills for
    stuck: bool = False  # stays in PROVISIONING
    unpulled: bool = False  # its registry refuses the image, again and again
    listed_from: datetime  # before this, the list does not have it
    known_from: datetime  # before this, GET and DELETE answer 404
    listed_until: datetime | None = None  # after its end
    lines: list[tuple[datetime, str, str]] = field(default_factory=list)  # time, source, line

    @property
    def gpu(self) -> str:
        """The type of its GPUs."""
        return str(self.request["gpu"]["id"])

    @property
    def count(self) -> int:
        """How many GPUs."""
        return int(self.request["gpu"].get("count", 1))

    def status(self, now: datetime) -> Status:
        """RunPod's word for its state."""
        if self.halted is not None:
            return self.halted
        age = (now - self.boot_at).total_seconds()
        if self.stuck or age < self.boot.provisioning:
            return Status.PROVISIONING
        if age < self.boot.provisioning + self.boot.starting:
            return Status.STARTING
        return Status.RUNNING

    def up_since(self, now: datetime) -> datetime | None:
        """When its container began to run. None while it does not run."""
        if self.unpulled or self.status(now) is not Status.RUNNING:
            return None
        steps = self.boot.provisioning + self.boot.starting + self.boot.pulling
        up = self.boot_at + timedelta(seconds=steps)
        return up if up <= now else None


@dataclass(slots=True, kw_only=True)
class RunPodState:
    """An account at RunPod and its market. Tests may change the attributes.

    A pod bills from its creation to its end, also in ERROR. A stopped pod bills for its volume alone.
    """

    clock: Clock
    catalog: list[GpuType] = field(default_factory=default_catalog)
    boot: Boot = field(default_factory=Boot)
    balance_usd: Decimal = Decimal(100)
    closed_pools: set[str] = field(default_factory=set)  # clouds that answer 403 to a create
    page_size: int | None = None  # None: the list of August 2026, without pages
    list_lag: float = 0.0  # seconds that a new pod is missing from the list
    get_lag: float = 0.0  # seconds that a new pod answers 404
    linger: float = 0.0  # seconds that an ended pod is still listed
    shows_ended: bool = False  # GET answers TERMINATED for as long as an ended pod is listed
    hides: float = 0.0  # seconds for which the next deleted pod is only hidden: it runs and bills
    cost_kept_when_exited: bool = True
    gpuless: int = 0  # this many of the next pods come back with 0 GPUs
    full_hosts: set[str] = field(default_factory=set)  # pods whose host has no free GPU
    backing: Backing | None = None
    seed: int | None = 0  # None: ids that no former emulator gave
    pods: dict[str, Pod] = field(default_factory=dict)
    private: PrivateImages = field(default_factory=PrivateImages)
    registries: dict[str, Kept] = field(default_factory=dict)  # the account's logins, by their ids
    bill: Bill = field(default_factory=Bill)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def gpus(self, count: int, cloud: str) -> list[tuple[GpuType, Mapping[str, int]]]:
        """The catalog: each type with the data centers that have `count` GPUs free."""
        return [
            (gpu, {dc: n for (c, dc), n in gpu.stock.items() if c == cloud and n >= count})
            for gpu in self.catalog
        ]

    def create(self, request: Mapping[str, Any]) -> Pod:
        """Rent a pod. The form of the request was checked."""
        now = self.clock()
        cloud = request.get("cloud", "SECURE")
        if cloud in self.closed_pools:
            raise Problem(403, "access denied")
        kept = self._registry(request.get("registry"))
        count = int(request["gpu"].get("count", 1))
        gpu = next((g for g in self.catalog if g.id == request["gpu"]["id"]), None)
        wanted = request.get("dataCenterIds")
        place = None if gpu is None else gpu.place(cloud, count, wanted)
        if cloud == "COMMUNITY" and wanted:
            place = None  # as the real service answers (runpod/runpodctl#326)
        if gpu is None or place is None:
            raise Problem(400, NO_INSTANCES)
        price = gpu.price(cloud) * count
        if self.funds() < price:  # RunPod wants credit for an hour at least
            raise Problem(402, "insufficient balance")
        gpu.stock[cloud, place] -= count
        pod = Pod(
            id="".join(self._random.choices(_ALPHABET, k=14)),
            request=dict(request),
            cloud=cloud,
            data_center=place,
            hourly_usd=price,
            created_at=now,
            boot=self.boot,
            boot_at=now,
            gpuless=self.gpuless > 0,
            listed_from=now + timedelta(seconds=self.list_lag),
            known_from=now + timedelta(seconds=self.get_lag),
        )
        self.gpuless = max(0, self.gpuless - 1)
        image = str(request.get("image"))
        pod.lines.append((now, "system", f"create container {image}"))
        if not self.private.gives(image, None if kept is None else (kept.user, kept.password)):
            pod.unpulled = True
            pod.lines.append((now, "system", f"error pulling image {image}: {REFUSED}"))
        self.pods[pod.id] = pod
        self.bill.set_rate(pod.id, price, now=now)
        return pod

    def _registry(self, registry_id: str | None) -> Kept | None:
        """The login that a create names. That RunPod answers 404 to an unknown one is not documented."""
        if registry_id is None:
            return None
        if registry_id not in self.registries:
            raise Problem(404, "registry not found")
        return self.registries[registry_id]

    def keep_registry(self, kept: Kept) -> str:
        """Store a login. Names are not unique."""
        registry_id = "".join(self._random.choices(_ALPHABET, k=8))
        self.registries[registry_id] = kept
        return registry_id

    def delete_registry(self, registry_id: str) -> None:
        """Delete a login that no pod uses."""
        if registry_id not in self.registries:
            raise Problem(404, "registry not found")
        if any(pod.request.get("registry") == registry_id for pod in self.living()):
            raise Problem(400, "Registry credential is in use by a pod and cannot be deleted")
        del self.registries[registry_id]

    def get(self, pod_id: str) -> Pod:
        """The pod, if RunPod would know it."""
        pod = self.pods.get(pod_id)
        if pod is None or pod.halted is Status.TERMINATED or self.clock() < pod.known_from:
            raise Problem(404, "pod not found")
        return pod

    def shown(self, pod_id: str) -> Pod:
        """The pod as GET shows it: as `get`, and an ended one where `shows_ended`."""
        pod = self.pods.get(pod_id)
        ended = pod is not None and pod.halted is Status.TERMINATED
        if pod is not None and ended and self.shows_ended and self._listed(pod, self.clock()):
            return pod
        return self.get(pod_id)

    def page(self, cursor: str) -> tuple[list[Pod], str | None]:
        """A page of the list, newest first. The cursor counts rows, so the list can shift."""
        now = self.clock()
        rows = [pod for pod in reversed(self.pods.values()) if self._listed(pod, now)]
        if self.page_size is None:
            return rows, None
        start = offset_in(cursor)
        end = start + self.page_size
        return rows[start:end], cursor_of(end) if end < len(rows) else None

    def act(self, pod_id: str, action: str) -> Pod:
        """Carry an action out."""
        pod = self.get(pod_id)
        now = self.clock()
        if action not in ACTIONS[pod.status(now)]:
            raise Problem(409, "action not valid for current pod status")
        if pod.locked and action in {"stop", "restart"}:
            raise Problem(409, "pod is locked")
        if action == "terminate":
            self.delete(pod_id)
        elif action == "stop":
            self._halt(pod, Status.EXITED)
        elif action == "start":
            self._start(pod)
        else:
            self._kill(pod)
            pod.boot_at = now
        return pod

    def patch(self, pod_id: str, changes: Mapping[str, Any]) -> Pod:
        """Change a pod. Only its lock can be changed here."""
        pod = self.get(pod_id)
        pod.locked = bool(changes.get("locked", pod.locked))
        return pod

    def delete(self, pod_id: str) -> None:
        """Terminate a pod, or only hide it."""
        pod = self.get(pod_id)
        if self.hides:
            pod.listed_from = pod.known_from = self.clock() + timedelta(seconds=self.hides)
            self.hides = 0.0
        else:
            self._end(pod)

    def log(self, pod_id: str, source: str, tail: int) -> list[tuple[datetime, str, str]]:
        """The last lines of a pod, oldest first."""
        pod = self.get(pod_id)
        lines = list(pod.lines)
        if self.backing is not None:
            lines += [(self.clock(), "container", text) for text in self.backing.lines(pod.id)]
        lines = [line for line in lines if source in {"", line[1]}]
        return lines[-tail:] if tail else []

    def funds(self) -> Decimal:
        """USD left of the balance."""
        return self.balance_usd - self.bill.grand_total(now=self.clock())

    def tick(self) -> None:
        """Start due containers, restart those that ended, and stop everything without credit."""
        now = self.clock()
        if self.backing is not None:
            for pod in self.pods.values():
                if pod.up_since(now) is not None and not self.backing.running(pod.id):
                    # Also after an exit, because RunPod restarts a container that ends.
                    self.backing.start(pod.id, self._environment(pod), _command(pod))
        if self.funds() <= 0:
            for pod in list(self.pods.values()):
                if pod.halted is Status.TERMINATED:
                    continue
                if "network" in pod.request.get("mounts", {}):
                    self._halt(pod, Status.EXITED)
                else:
                    self._end(pod)

    def vanish(self, pod_id: str) -> None:
        """Remove the pod, as when its host is gone or somebody deleted it in the console."""
        self._end(self.pods[pod_id])

    def fail(self, pod_id: str) -> None:
        """Put the pod into an error that does not end."""
        self._kill(self.pods[pod_id])
        self.pods[pod_id].halted = Status.ERROR

    def living(self) -> list[Pod]:
        """The pods that exist."""
        return [pod for pod in self.pods.values() if pod.halted is not Status.TERMINATED]

    def print_line(self, pod_id: str, line: str, *, source: str = "container") -> None:
        """Let the container print a line."""
        self.pods[pod_id].lines.append((self.clock(), source, line))

    def cost(self, pod: Pod) -> Decimal:
        """The price in the API's answer. In recordings a stopped pod keeps its price."""
        stopped = pod.halted in {Status.EXITED, Status.TERMINATED}
        return Decimal(0) if stopped and not self.cost_kept_when_exited else pod.hourly_usd

    def _listed(self, pod: Pod, now: datetime) -> bool:
        if pod.halted is Status.TERMINATED:
            return pod.listed_until is not None and now < pod.listed_until
        return now >= pod.listed_from

    def _start(self, pod: Pod) -> None:
        gpu = self._gpu(pod)
        here = (pod.cloud, pod.data_center)
        if pod.halted is Status.EXITED:  # a pod in ERROR still holds its GPUs
            if pod.id in self.full_hosts or gpu.stock[here] < pod.count:
                raise Problem(400, HOST_FULL)
            gpu.stock[here] -= pod.count
        pod.halted, pod.boot_at = None, self.clock()
        self.bill.set_rate(pod.id, pod.hourly_usd, now=self.clock())

    def _halt(self, pod: Pod, status: Status) -> None:
        if pod.halted is not None:
            return
        self._kill(pod)
        pod.halted = status
        self._gpu(pod).stock[pod.cloud, pod.data_center] += pod.count
        volume = pod.request.get("mounts", {}).get("persistent", {}).get("size", 0)
        rent = STOPPED_VOLUME_USD * volume / HOURS_A_MONTH
        self.bill.set_rate(pod.id, rent, now=self.clock())

    def _end(self, pod: Pod) -> None:
        if pod.halted is Status.TERMINATED:
            return
        if pod.halted is not Status.EXITED:
            self._gpu(pod).stock[pod.cloud, pod.data_center] += pod.count
        self._kill(pod)
        now = self.clock()
        pod.halted = Status.TERMINATED
        pod.listed_until = now + timedelta(seconds=self.linger)
        self.bill.set_rate(pod.id, Decimal(0), now=now)

    def _kill(self, pod: Pod) -> None:
        if self.backing is not None:
            self.backing.stop(pod.id)

    def _gpu(self, pod: Pod) -> GpuType:
        return next(g for g in self.catalog if g.id == pod.gpu)

    def _environment(self, pod: Pod) -> Mapping[str, str]:
        return {
            **pod.request.get("env", {}),
            "RUNPOD_POD_ID": pod.id,
            "RUNPOD_API_KEY": f"pod-key-of-{pod.id}",
            "RUNPOD_DC_ID": pod.data_center,
            "RUNPOD_GPU_COUNT": str(pod.count),
        }


def _command(pod: Pod) -> Sequence[str]:
    return shlex.split(str(pod.request.get("args", "")))
