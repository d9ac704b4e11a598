"""Asks for pods: writes the rows of new pods, with all settings that come from the fleet."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from fleet.decision.values import NewPod
from fleet.models import Fleet
from pods import dispatch, lifecycle
from pods.agent import protocol
from pods.models import Account, Installation
from pods.pod_rows import Template, requested_pod
from pods.rules import PodRule


def request_pods(fleet: Fleet, starts: Sequence[NewPod], *, because: str) -> None:
    """Write a row for each new pod; send its spawn task when the transaction commits."""
    if not starts:
        return
    accounts = Account.objects.in_bulk({start.offer.account_id for start in starts})
    slug, chosen = Installation.own().slug, template(fleet)
    for offer in (start.offer for start in starts):
        pod = requested_pod(
            chosen,
            accounts[offer.account_id],
            slug=slug,
            offer_key=offer.key,
            gpu_type=offer.gpu_type,
            gpu_count=offer.gpu_count,
            region=offer.region,
            host=offer.host,
            interruptible=offer.interruptible,
            hourly_usd=offer.hourly_usd,
            stopped_hourly_usd=offer.stopped_hourly_usd,
        )
        lifecycle.insert(pod, by="tick", rule=PodRule.WANTED, because=because)
        dispatch.send(dispatch.SPAWN, pod.pk)


def template_of(fleet_id: int) -> Template | None:
    """The settings that the fleet with this id gives its pods; None if there is no such fleet."""
    fleet = Fleet.objects.filter(pk=fleet_id).first()
    return None if fleet is None else template(fleet)


def adopts(fleet_id: int) -> bool:
    """Whether a machine can become a pod of this fleet: nothing looks after an archived fleet's pods."""
    return Fleet.objects.filter(pk=fleet_id, archived_at=None).exists()


def template(fleet: Fleet) -> Template:
    """All settings of a fleet that its pods need during their life."""
    return Template(
        fleet_id=fleet.pk,
        agent=agent_settings(fleet),
        image=fleet.image,
        start_command=fleet.start_command,
        template_hash=template_hash(fleet),
        disk_gb=fleet.disk_gb,
        handler_env=fleet.handler_env,
        # The Celery app connects to its broker itself; the agent beats at the installation's Redis.
        redis_url=fleet.backlog_url if fleet.on_stream else "",
        boot_seconds=fleet.boot_seconds,
        silent_seconds=fleet.silent_seconds,
        drain_seconds=fleet.drain_seconds,
    )


def template_hash(fleet: Fleet) -> str:
    """The hash of what a canary tests: the image, its command, the handler, its variables and its code.

    What older versions did not know is left out where it is empty: an upgrade replaces no pod.
    """
    proven: list[Any] = [fleet.image, fleet.handler, fleet.handler_env]
    if fleet.bundle:
        proven.append(fleet.bundle)
    if fleet.start_command:
        proven.append({"start_command": fleet.start_command})
    return hashlib.sha256(json.dumps(proven, sort_keys=True).encode()).hexdigest()


def agent_settings(fleet: Fleet) -> dict[str, str | int | float]:
    """The fleet's part of AgentSettings; the rest belongs to the pod."""
    return {
        "fleet": fleet.name,
        "stream": fleet.stream,
        "group": fleet.group,
        "handler": fleet.handler,
        "celery_app": "" if fleet.on_stream else fleet.handler,
        "kind": protocol.DATASET if fleet.is_dataset else protocol.ITEMS,
        "results": fleet.results,
        "reply_to": fleet.reply_to,
        "longest_results": fleet.longest_results,
        "batch_size": fleet.batch_size,
        "target_batch_seconds": fleet.target_batch_seconds,
        "max_deliveries": fleet.max_deliveries,
        "claim_idle_seconds": fleet.claim_idle_seconds,
        "heartbeat_seconds": fleet.heartbeat_seconds,
        "orphan_seconds": fleet.orphan_seconds,
        "drain_seconds": fleet.drain_seconds,
        "notice_seconds": fleet.notice_seconds,
        "handler_timeout_seconds": fleet.handler_timeout_seconds,
        "bundle": fleet.bundle,
    }
