"""Translates between RunPod's words and ours (REST v2, 2026-08 to 2026-11)."""

import json
import shlex
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, unquote

from pods.agent.protocol import CACHE, ended_by
from pods.catalogue import gpus, regions
from pods.machine_names import tagged, token_of
from pods.providers.base import Machine, Offer, OfferQuery, Phase, PodSpec
from pods.providers.errors import Refused, Unavailable
from pods.providers.runpod.options import PLACE, Options
from pods.providers.wire import moment, usd

PHASES: Final[Mapping[str, Phase]] = {
    "PROVISIONING": Phase.BOOTING,
    "STARTING": Phase.BOOTING,
    "RUNNING": Phase.RUNNING,  # see also `phase`
    "EXITED": Phase.STOPPED,
    "ERROR": Phase.FAILED,
    "TERMINATED": Phase.GONE,
}
# The recordings of 2026-08-20 show a price for a stopped pod, the document says 0. We use neither.
_PAID: Final = frozenset({Phase.BOOTING, Phase.RUNNING})
# A pod's name on RunPod is its only tag. Clients keep to 60 characters; v1 allowed 191.
LONGEST_NAME: Final = 60
MOST_VARIABLES: Final = 50
# $/GB/month of a volume while its pod is stopped (RunPod's pricing page, 2026-08).
STOPPED_VOLUME_USD: Final = Decimal("0.20")
HOURS_A_MONTH: Final = 730
# A create in this cloud that names a data center is always answered "no longer any instances"
# (runpod/runpodctl#326). So its offers are nowhere, and only the pod says where it is.
UNPLACED: Final = "COMMUNITY"


def phase(pod: Mapping[str, Any]) -> Phase:
    """The phase of a pod. RUNNING without a runtime means that its image is still being pulled."""
    known = PHASES.get(str(pod.get("status")), Phase.UNKNOWN)
    if known is Phase.RUNNING and pod.get("runtime") is None:
        return Phase.BOOTING
    return known


def machine(pod: object) -> Machine:
    """What RunPod says about one pod.

    Raises:
        Unavailable: it has no id or no name, so nobody knows which pod it is.
    """
    if not isinstance(pod, dict):
        raise Unavailable("a pod in RunPod's answer is not an object")
    external_id, name = pod.get("id"), pod.get("name")
    if not (isinstance(external_id, str) and external_id and isinstance(name, str)):
        raise Unavailable("a pod in RunPod's answer has no id or no name")
    now = phase(pod)
    gpu = pod.get("gpu")
    price = usd(pod.get("cost")) if now in _PAID else None
    return Machine(
        external_id=external_id,
        token=token_of(name),
        name=name,
        phase=now,
        raw_status=str(pod.get("status", ""))[:40],
        hourly_usd=price or None,  # a pod that runs costs more than 0
        stopped_hourly_usd=_stopped_usd(pod.get("mounts")),
        created_at=moment(pod.get("createdAt")),
        gpu_type=gpu_type(gpu.get("id")) if isinstance(gpu, dict) else "",
        gpu_count=_whole(gpu.get("count")) if isinstance(gpu, dict) else None,
        disk_gb=_whole(pod.get("disk")),
        region=_text(pod.get("dataCenterId")),
        console_url=f"https://console.runpod.io/pods?id={quote(external_id, safe='')}",
    )


def _stopped_usd(mounts: object) -> Decimal | None:
    """USD/hour of a stopped pod: that of its own volume. A network volume bills without a pod too."""
    if not isinstance(mounts, dict):
        return None
    volume = mounts.get("persistent")
    if volume is None:
        return Decimal(0)
    size = _whole(volume.get("size")) if isinstance(volume, dict) else None
    return None if size is None else _volume_usd(size)


def _volume_usd(gb: int) -> Decimal:
    return STOPPED_VOLUME_USD * gb / HOURS_A_MONTH


def gpu_type(gpu_id: object) -> str:
    """The name of a GPU type. It is made from the id, so offers and machines have the same.

    RunPod's own short name is not used: a slice of an RTX PRO 6000 has the name of the whole card.
    """
    return gpus.named(_text(gpu_id))


def offers(body: object, cloud: str, query: OfferQuery, options: Options) -> Iterator[Offer]:
    """The offers of one cloud that fit the query, from an answer of the catalog.

    RunPod names no reliability and no end of an offer, so those limits do not apply.

    Raises:
        Unavailable: the answer is not a catalog.
    """
    gpus = body.get("gpus") if isinstance(body, dict) else None
    if not isinstance(gpus, list) or not all(isinstance(gpu, dict) for gpu in gpus):
        raise Unavailable("RunPod's catalog has no list of GPUs")
    for gpu in gpus:
        price = _price(gpu, cloud, query.gpu_count)
        if price is None or not _wanted(gpu, query):
            continue
        if query.max_hourly_usd is not None and price > query.max_hourly_usd:
            continue
        for place in _places(gpu, cloud, query, options):
            yield Offer(
                key=offer_key(cloud, gpu["id"], query.gpu_count, place),
                hourly_usd=price,
                gpu_type=gpu_type(gpu["id"]),
                gpu_count=query.gpu_count,
                vram_gb=_whole(gpu.get("memory")),
                region=place,
                stopped_hourly_usd=_volume_usd(options.volume_gb),
            )


def _price(gpu: Mapping[str, Any], cloud: str, count: int) -> Decimal | None:
    """USD/hour of `count` GPUs. None where the cloud has no machine of that size."""
    tier = cloud.lower()
    prices, most = gpu.get("price"), gpu.get("maxCount")
    if not isinstance(gpu.get("id"), str) or not gpu.get(tier):
        return None
    largest = _whole(most.get(tier)) if isinstance(most, dict) else None
    if largest is not None and largest < count:
        return None
    one = usd(prices.get(tier)) if isinstance(prices, dict) else None
    return one * count if one else None


def _wanted(gpu: Mapping[str, Any], query: OfferQuery) -> bool:
    memory = _whole(gpu.get("memory"))
    named = gpu_type(gpu["id"])
    if query.gpu_types and not any(gpus.means(w, named, memory) for w in query.gpu_types):
        return False
    return query.min_vram_gb is None or (memory or 0) >= query.min_vram_gb


def _places(
    gpu: Mapping[str, Any], cloud: str, query: OfferQuery, options: Options
) -> Iterator[str]:
    """The data centers with stock. "" (anywhere) where RunPod names none and none is asked for."""
    if gpu.get("availability") == "NONE":
        return
    centers = gpu.get("dataCenters")
    if cloud == UNPLACED or not isinstance(centers, list):
        if not query.regions and not options.data_centers:
            yield ""
        return
    for center in centers:
        place = _text(center.get("id")) if isinstance(center, dict) else ""
        if not PLACE.fullmatch(place) or center.get("availability") == "NONE":
            continue
        if options.data_centers and place not in options.data_centers:
            continue
        if not query.regions or any(regions.within(place, region) for region in query.regions):
            yield place


def offer_key(cloud: str, gpu_id: str, count: int, place: str) -> str:
    """Our own id of an offer, because RunPod has none."""
    return f"{cloud}:{quote(gpu_id, safe=' ')}:{count}:{place}"


def create_body(
    spec: PodSpec, token: str, options: Options, *, registry: str = ""
) -> dict[str, Any]:
    """The request that rents a pod. RunPod answers 422 to an unknown field.

    `registry`: RunPod's id of the account's login for this image; it goes before that of the options.

    Raises:
        Refused: RunPod would refuse it, or would rent another pod than was meant.
    """
    parts = spec.offer_key.split(":")
    if len(parts) != 4 or not parts[2].isdigit():  # cloud, GPU, count, place
        raise Refused(f"{spec.offer_key[:80]!r} is not an offer of RunPod")
    cloud, gpu_id, count, place = parts
    name = tagged(spec.tag, token)
    if len(name) > LONGEST_NAME:
        raise Refused(
            f"the name {name!r} is longer than {LONGEST_NAME} characters; shorten the tag"
        )
    if not spec.image:
        raise Refused("RunPod rents containers, so the fleet needs an image")
    env = {**_cache(spec, options), **spec.env, **ended_by("runpod", spec.name)}
    if len(env) > MOST_VARIABLES:
        raise Refused(f"{len(env)} environment variables; RunPod takes {MOST_VARIABLES} at most")
    gpu: dict[str, Any] = {"id": unquote(gpu_id), "count": int(count)}
    if options.min_cuda_version:
        gpu["minCudaVersion"] = options.min_cuda_version
    body: dict[str, Any] = {
        "name": name,
        "image": spec.image,
        "cloud": cloud,  # without it RunPod takes SECURE, at about twice the price
        "gpu": gpu,  # without a count RunPod answers "no instances available", which misleads
        "disk": max(1, spec.disk_gb),
        "env": env,
    }
    if place and cloud != UNPLACED:
        body["dataCenterIds"] = [place]
    if words := spec.command or spec.args:
        body["args"] = shlex.join(words)  # one text, which RunPod splits as a shell does
    if registry or options.registry:
        body["registry"] = registry or options.registry
    if mounts := _mounts(options):
        body["mounts"] = mounts
    return body


def _cache(spec: PodSpec, options: Options) -> dict[str, str]:
    """Where a machine keeps what it installed: on the disk that a stop keeps, if there is one."""
    kept = options.volume_gb or options.network_volume
    return {CACHE: f"{options.volume_path}/.podfleet"} if spec.command and kept else {}


def _mounts(options: Options) -> dict[str, Any]:
    path = options.volume_path
    if options.volume_gb:
        return {"persistent": {"size": options.volume_gb, "path": path}}
    if options.network_volume:
        return {"network": [{"volumeId": options.network_volume, "path": path}]}
    return {}


def log_lines(stream: bytes) -> list[str]:
    """The lines in a stream of server-sent events. A frame that was cut off is left out."""
    lines: list[str] = []
    for raw in stream.decode(errors="replace").splitlines():
        if not raw.startswith("data:"):
            continue
        try:
            frame = json.loads(raw.removeprefix("data:"))
        except ValueError:
            continue
        if isinstance(frame, dict) and isinstance(frame.get("line"), str):
            lines.append(frame["line"])
    return lines


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
