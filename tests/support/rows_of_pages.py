"""Rows that make the pages of a fleet look as in use: its pods with their events, and its samples."""

import random
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from math import sin
from typing import Final

from fleet.models import Fleet, Sample
from fleet.tick.requesting import agent_settings
from pods.models import Account, Pod, PodEvent, PriceSegment

STATES: Final = ("ready", "ready", "ready", "booting", "draining")


def some_pods(fleet: Fleet, accounts: list[Account], count: int, now: datetime) -> None:
    """Pods of several states, each with its events and its price."""
    for n in range(count):
        token, account = uuid.uuid5(uuid.NAMESPACE_DNS, f"{fleet.name}{n}"), accounts[n % 2]
        since = now - timedelta(hours=5 * n + 1)
        state = STATES[n % 5]
        pod = Pod.objects.create(
            fleet=fleet, account=account, provider=account.provider, external_id=f"m{fleet.pk}{n}",
            client_token=token, name=f"pf-ab12cd-{fleet.pk}-{token.hex}", tag=f"pf-ab12cd-{fleet.pk}",
            state=state, state_since=since, requested_at=since, ready_at=since, beat_at=now,
            gpu_type=("NVIDIA L4", "NVIDIA GeForce RTX 4090")[n % 2], gpu_count=1,
            hourly_usd=Decimal(("0.39", "0.69")[n % 2]), rate=8.4 + n / 3 if state == "ready" else 0,
            done=151_000 * (n + 1), because="its agent sends heartbeats",
            console_url="https://console.runpod.io/pods?id=m1", agent=agent_settings(fleet),
        )  # fmt: skip
        PriceSegment.objects.create(
            pod=pod, fleet=fleet, hourly_usd=pod.hourly_usd, since=pod.requested_at
        )
        for after, before, by, why, seconds in (
            (
                "",
                "requested",
                "tick",
                "the backlog needs 42 pods (41,800,000 items at 1,000,000 per pod)",
                0,
            ),
            ("requested", "creating", "spawn", "the provider is asked for a machine", 1),
            ("creating", "booting", "spawn", "its machine was created", 4),
            ("booting", "ready", "health", "its agent sends heartbeats", 81),
        ):
            PodEvent.objects.create(
                pod=pod, at=since + timedelta(seconds=seconds), by=by, before=after, after=before,
                because=why,
            )  # fmt: skip


def some_samples(fleet: Fleet, depth: int, now: datetime) -> None:
    """A week of samples, up to now."""
    noise = random.Random(3)
    rows = []
    for grain, step, count in ((2, 3600, 168), (1, 300, 288), (0, 15, 240)):
        for k in range(count):
            at = now - timedelta(seconds=step * k)
            pods = max(0, min(fleet.max_instances, int(4 + 2 * sin(k * step / 9000))))
            rows.append(
                Sample(
                    fleet=fleet, at=at, grain=grain, depth=int(depth + step * k * pods * 8.3),
                    pods=pods, ready=max(0, pods - 1), items_per_second=8.3 * pods + noise.random(),
                    hourly_usd=Decimal(pods) / 2, spent_today_usd=Decimal(at.hour * 60 + at.minute) / 40,
                )
            )  # fmt: skip
    Sample.objects.bulk_create(rows)
