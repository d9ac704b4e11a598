"""Translates between the engine's words and ours."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from pods.agent.protocol import ENDED_BY
from pods.providers.base import Machine, Phase, PodSpec
from pods.providers.docker.options import Options
from pods.providers.errors import Unavailable
from pods.providers.wire import cleaned, moment

LABEL: Final = "podfleet.token"
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


def container(spec: PodSpec, token: str, options: Options) -> dict[str, Any]:
    """The body of a create. A container never restarts by itself, so that the manager sees its end."""
    host: dict[str, Any] = {
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": options.network,
        "Init": True,
        "Binds": list(options.binds),
    }
    if options.gpus_per_pod:
        host["DeviceRequests"] = [{"Count": options.gpus_per_pod, "Capabilities": [["gpu"]]}]
    return {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.env.items() if name != ENDED_BY],
        "Labels": {LABEL: token},
        "HostConfig": host,
    }


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


def listed(body: Any, options: Options) -> Sequence[Machine]:
    """The machines in `GET /containers/json`."""
    if not isinstance(body, list):
        raise Unavailable("the engine's list of containers is not a list")
    machines = []
    for row in body:
        try:
            born = datetime.fromtimestamp(int(row["Created"]), UTC)
            name = str(row["Names"][0]).lstrip("/")
            why = str(row.get("Status", "")) if row["State"] == "exited" else ""
            machines.append(
                _machine(
                    str(row["Id"]),
                    name,
                    str(row["State"]),
                    row.get("Labels") or {},
                    born,
                    why,
                    options,
                )
            )
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            raise Unavailable(f"a row of the engine's list of containers lacks {exc}") from exc
    return machines


def _machine(
    external_id: str,
    name: str,
    word: str,
    labels: Mapping[str, str],
    born: datetime | None,
    why: str,
    options: Options,
) -> Machine:
    return Machine(
        external_id=external_id,
        token=str(labels.get(LABEL, "")),
        name=name,
        phase=PHASES.get(word, Phase.UNKNOWN),
        raw_status=word,
        hourly_usd=Decimal(0) if word == "exited" else options.hourly_usd,
        created_at=born,
        gpu_type=options.gpu_type,
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
