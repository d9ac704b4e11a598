"""A full health sweep of 500 pods at two accounts with 300 ms latency and 5 requests/s each."""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django_celery_beat.models import PeriodicTask
from rich.console import Console
from rich.table import Table

from config import preparing
from fleet import operating
from fleet.models import Fleet
from fleet.tick import requesting
from pods import health
from pods.agent.protocol import AgentState, Heartbeat, Keys
from pods.agent_redis import heartbeats
from pods.base import clock
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.emulators.base import Server
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_state import RunPodState
from pods.machine_names import fleet_tag
from pods.models import Account, Installation, Pod
from pods.providers import registry
from pods.providers.base import Provider, Rate
from pods.providers.observed import Observed
from pods.providers.pacing import ANY, Pacer
from pods.states import READY

PODS: Final = 500
QUICK_PODS: Final = 40
LATENCY_SECONDS: Final = 0.3
ALLOWED_PER_SECOND: Final = 5
# One request every 210 ms: jitter then never makes it six requests in a second.
PACE: Final = Rate(every=timedelta(milliseconds=210), burst=1)
PAGE: Final = 50  # machines on one page of the vendor's list
SILENT_SHARE: Final = 0.1  # of the pods; each silent pod gets a check of its own
WORKERS: Final = 4


@dataclass(slots=True, kw_only=True)
class Vendor:
    """An emulated RunPod with its account, and the times of its requests."""

    account: Account
    server: Any
    state: Any
    request_times: list[float] = field(default_factory=list)

    def provider(self) -> Provider:
        """The account's provider, with the pace that all workers share."""
        any_key = "any-key-is-good"
        client, name = redis_client(settings.REDIS_URL), self.account.name
        made = registry.create_provider(
            "runpod",
            options=self.account.options,
            secret=any_key,
            make_pacer=lambda _rates: Pacer(client, name, {ANY: PACE}),
        )
        return Observed(made, account=name, client=client)


def most_in_a_second(times: Sequence[float]) -> int:
    """The most requests that arrived within any one second."""
    times = sorted(times)
    return max((bisect_left(times, at + 1.0) - n for n, at in enumerate(times)), default=0)


@contextmanager
def vendor(name: str, *, seed: int) -> Iterator[Vendor]:
    """Serve an emulated RunPod with stock for many pods."""
    state = RunPodState(clock=utcnow, page_size=PAGE, balance_usd=Decimal(1_000_000), seed=seed)
    emulator = RunPodEmulator(state)
    for gpu in state.catalog:
        gpu.stock = dict.fromkeys(gpu.stock, 10_000)
    with Server(emulator) as server:
        server.latency = LATENCY_SECONDS
        account = Account.objects.create(
            name=name, provider="runpod", options={"base_url": server.url}
        )
        made = Vendor(account=account, server=server, state=state)
        server.checks.append(lambda _: made.request_times.append(time.monotonic()))
        yield made


def rent(fleet: Fleet, at: Vendor, count: int) -> list[Pod]:
    """Rent `count` READY pods there; a share of them has long been silent."""
    tag, now = fleet_tag(Installation.own().slug, fleet.pk), utcnow()
    early = now - timedelta(hours=1)
    rows, beat = [], Heartbeat(state=AgentState.WORKING, done=5, in_flight=3, rate=8.0).fields()
    pipe = redis_client(settings.REDIS_URL).pipeline(transaction=False)
    for n in range(count):
        name = f"{tag}-{at.account.pk}x{n}"
        gpu = {"id": at.state.catalog[0].id, "count": 1}
        with at.server.lock:
            machine = at.state.create({"name": name, "gpu": gpu, "image": "i", "env": {}})
        rows.append(
            Pod(
                fleet=fleet,
                account=at.account,
                provider="runpod",
                external_id=machine.id,
                name=name,
                tag=tag,
                state=READY.value,
                state_since=early,
                requested_at=early,
                ready_at=early,
                heard_since=early,
                hourly_usd=machine.hourly_usd,
                agent=requesting.agent_settings(fleet),
            )
        )
        if n >= count * SILENT_SHARE:
            fields: Any = {**beat, "at_ms": str(int(now.timestamp() * 1000))}
            pipe.hset(Keys(fleet.name).pod(name), mapping=fields)
    pipe.execute()
    pods = list(Pod.objects.bulk_create(rows))
    with clock.use(lambda: early):  # silence counts only since this Redis was first read
        heartbeats.read(pods)
    return pods


def sweep(vendors: Sequence[Vendor], silent: Sequence[Pod]) -> tuple[float, int]:
    """Sweep both accounts and check each silent pod with four workers; seconds, silent pods found."""
    by_account = {v.account.pk: v for v in vendors}

    def connect(account: Account) -> Provider:
        return by_account[account.pk].provider()

    def sweep_vendor(at: Vendor) -> int:
        with closing(connection):
            return health.sweep_account(at.account, connect=connect)

    def check(pod: Pod) -> None:
        with closing(connection):
            health.check_pod(pod.pk, connect=connect)

    began = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        found = sum(pool.map(sweep_vendor, vendors))
        list(pool.map(check, silent))
    return time.monotonic() - began, found


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Sweep everything once, and compare it with the rate and the period."""
    preparing.ensure_services()
    preparing.migrate()
    every = PeriodicTask.objects.get(task="pods.sweep").interval
    period = every.schedule.run_every.total_seconds()
    count = QUICK_PODS if quick else PODS
    fleet = operating.create_fleet(
        "bench", by="bench", handler="pods.agent.handlers.pace:sleep", max_instances=count
    )
    try:
        with ExitStack() as stack:
            vendors = [stack.enter_context(vendor(f"runpod-{n}", seed=n)) for n in (1, 2)]
            rented = [rent(fleet, v, count // 2) for v in vendors]
            # In turns, so that the checks of both accounts run at the same time.
            both = list(zip(*rented, strict=True))
            silent = [pod for pair in both[: int(count // 2 * SILENT_SHARE)] for pod in pair]
            seconds, found = sweep(vendors, silent)
            calls = [len(v.request_times) for v in vendors]
            errors = [e for e in Account.objects.values_list("last_error", flat=True) if e]
            worst = max(most_in_a_second(v.request_times) for v in vendors)
    finally:
        preparing.stop_services()
    if errors or not all(calls):
        raise RuntimeError(f"requests to the vendors are missing or failed: {calls} {errors}")
    if found != len(silent):
        raise RuntimeError(f"the sweep found {found} of {len(silent)} silent pods")
    table = Table("pods", "silent", "calls", "most in a second", "seconds", "period, s")
    table.add_row(
        str(count), str(found), str(sum(calls)), str(worst), f"{seconds:.1f}", f"{period:.0f}"
    )
    console.print(table)
    return {
        "name": "sweep",
        "pods": count,
        "ill": found,
        "seconds": round(seconds, 2),
        "calls": sum(calls),
        "period_seconds": period,
        "within_period": seconds <= period,
        "within_limit": worst <= ALLOWED_PER_SECOND,
    }
