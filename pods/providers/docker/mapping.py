"""Translates between the engine's words and ours."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from pods.agent.protocol import ENDED_BY
from pods.catalogue import gpus
from pods.providers.base import Machine, Phase, PodSpec, RegistryLogin
from pods.providers.docker.options import Options
from pods.providers.errors import Unavailable
from pods.providers.images import DOCKER_HUB, image_parts
from pods.providers.wire import cleaned, is_loopback, moment

LABEL: Final = "podfleet.token"
GPU_LABEL: Final = "podfleet.gpus"  # the numbers of its GPUs: "0,1"
LOGIN_HEADER: Final = "X-Registry-Auth"
# The name of Docker Hub in a login (Docker Engine API 1.41, section Authentication).
HUB_ADDRESS: Final = "https://index.docker.io/v1/"
REDIS_VARIABLE: Final = "PODFLEET_REDIS_URL"
# Docker Engine API 1.41, ContainerState.Status (read 2026-11-23).
PHASES: Final[Mapping[str, Phase]] = {
    "created": Phase.BOOTING,
    "restarting": Phase.BOOTING,
    "running": Phase.RUNNING,
    "paused": Phase.RUNNING,  # the heartbeat says whether anything works in it
    "removing": Phase.STOPPING,
    "exited": Phase.STOPPED,
    "dead": Phase.FAILED,
}
HEADER_BYTES: Final = 8  # of a frame of the log stream: kind, three zeros, length


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A container of ours in the engine's list."""

    machine: Machine
    gpus: frozenset[int]

    @property
    def runs(self) -> bool:
        """Whether it uses the host's room and its GPUs. A stopped one does not."""
        return self.machine.phase is not Phase.STOPPED


def container(
    spec: PodSpec, token: str, options: Options, gpus: Sequence[int] = ()
) -> dict[str, Any]:
    """The body of a create. A container never restarts by itself, so that the manager sees its end.

    `gpus`: the numbers of the GPUs that it alone gets. A mere count is always answered with the
    first GPUs of the host.
    """
    host: dict[str, Any] = {
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": options.network,
        "Init": True,
        "Binds": list(options.binds),
    }
    labels = {LABEL: token}
    if gpus:
        ids = [str(number) for number in gpus]
        host["DeviceRequests"] = [{"DeviceIDs": ids, "Capabilities": [["gpu"]]}]
        labels[GPU_LABEL] = ",".join(ids)
    runs: dict[str, list[str]] = {}
    if spec.command:
        # The image's own entrypoint is replaced too: it may start something else.
        runs = {"Entrypoint": list(spec.command), "Cmd": []}
    elif spec.args:
        runs = {"Cmd": list(spec.args)}
    return {
        **runs,
        "Image": image_name(spec.image),
        "Env": [f"{name}={value}" for name, value in spec.env.items() if name != ENDED_BY],
        "Labels": labels,
        "HostConfig": host,
    }


def made(body: Any) -> str:
    """The id of the container that was made.

    Raises:
        Unavailable: the answer names none, so a container may be there.
    """
    external_id = body.get("Id") if isinstance(body, dict) else None
    if not isinstance(external_id, str) or not external_id:
        raise Unavailable("the engine made a container and does not say which")
    return external_id


def login_header(login: RegistryLogin) -> str:
    """A login as the engine takes it with a pull: base64url of JSON."""
    server = HUB_ADDRESS if login.host == DOCKER_HUB else login.host
    said = {"username": login.user, "password": login.password, "serveraddress": server}
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


def image_name(image: str) -> str:
    """The name by which the engine finds an image. It is as given, unless it has tag and digest."""
    name, version = image_parts(image)
    return f"{name}@{version}" if "@" in image else image


def unreachable_redis(spec: PodSpec, options: Options) -> str:
    """Why the agent in a container could not reach its Redis. Empty where it may."""
    host = urlsplit(spec.env.get(REDIS_VARIABLE, "")).hostname or ""
    if options.shares_loopback or not is_loopback(host):
        return ""
    return (
        f"its Redis is at {host}, which is the container itself on the network {options.network!r} of "
        f"{options.host}; give REDIS_URL an address that containers reach, or, where the engine is on "
        "the manager's machine, set the account's network to host"
    )


def inspected(body: Any, options: Options) -> Machine:
    """A machine from `GET /containers/{id}/json`."""
    try:
        state = body["State"]
        word = str(state["Status"])
        why = cleaned(str(state.get("Error") or ""))
        if word == "exited" and not why:
            why = "out of memory" if state.get("OOMKilled") else f"exited with {state['ExitCode']}"
        return _machine(
            str(body["Id"]),
            str(body["Name"]).lstrip("/"),
            word,
            body["Config"].get("Labels") or {},
            moment(body.get("Created")),
            why,
            options,
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise Unavailable(f"the engine's answer about a container lacks {exc}") from exc


def listed(body: Any, options: Options) -> Sequence[Listed]:
    """The containers in `GET /containers/json`."""
    if not isinstance(body, list):
        raise Unavailable("the engine's list of containers is not a list")
    machines = []
    for row in body:
        try:
            born = datetime.fromtimestamp(int(row["Created"]), UTC)
            name = str(row["Names"][0]).lstrip("/")
            why = str(row.get("Status", "")) if row["State"] == "exited" else ""
            labels = row.get("Labels") or {}
            machine = _machine(str(row["Id"]), name, str(row["State"]), labels, born, why, options)
            machines.append(Listed(machine=machine, gpus=_gpus(labels, options)))
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            raise Unavailable(f"a row of the engine's list of containers lacks {exc}") from exc
    return machines


def _gpus(labels: Mapping[str, str], options: Options) -> frozenset[int]:
    """The GPUs of a container. One without the label, of an older version, has the first ones."""
    named = labels.get(GPU_LABEL)
    if named is None:
        return frozenset(range(options.gpus_per_pod))
    return frozenset(int(number) for number in named.split(",") if number.isdecimal())


def _machine(
    external_id: str,
    name: str,
    word: str,
    labels: Mapping[str, str],
    born: datetime | None,
    why: str,
    options: Options,
) -> Machine:
    count = len(_gpus(labels, options))
    return Machine(
        external_id=external_id,
        token=str(labels.get(LABEL, "")),
        name=name,
        phase=PHASES.get(word, Phase.UNKNOWN),
        raw_status=word,
        hourly_usd=Decimal(0) if word == "exited" else options.price_of(count),
        stopped_hourly_usd=Decimal(0),
        created_at=born,
        gpu_type=gpus.named(options.gpu_type),
        gpu_count=count if GPU_LABEL in labels else None,
        host=options.host,
        because=why,
    )


def log_lines(raw: bytes) -> str:
    """The text of a log stream, without its frames (Engine API, attach: stream format)."""
    parts, at = [], 0
    while at + HEADER_BYTES <= len(raw) and raw[at] in (0, 1, 2) and not any(raw[at + 1 : at + 4]):
        size = int.from_bytes(raw[at + 4 : at + HEADER_BYTES], "big")
        parts.append(raw[at + HEADER_BYTES : at + HEADER_BYTES + size])
        at += HEADER_BYTES + size
    return cleaned((b"".join(parts) if at else raw).decode("utf-8", "replace"))
