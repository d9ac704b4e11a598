"""Items/s of N local pods at once, each limited to 8 items/s: the ideal is N x 8."""

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from redis import Redis
from rich.console import Console
from rich.table import Table

from config import preparing, stack
from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Fleet
from pods.agent.protocol import ITEM_PAYLOAD, RESULT_POD
from pods.base.redis import make_consumer_group, redis_client, stream_page
from pods.states import READY

RATE: Final = 8.0  # items/s of one pod
SIZES: Final = (1, 2, 3, 8, 16)
WINDOW_SECONDS: Final = 60.0
START_SECONDS: Final = 180.0
PAGE: Final = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The result for one number of pods."""

    pods: int
    items_per_second: float
    ramp_seconds: float  # until N pods are READY; each tick of 1 s starts one

    @property
    def efficiency(self) -> float:
        """The share of the ideal N x 8 items/s."""
        return self.items_per_second / (self.pods * RATE)


def _fill(client: "Redis", stream: str, items: int) -> None:
    for begin in range(0, items, PAGE):
        pipe = client.pipeline(transaction=False)
        for n in range(begin, min(items, begin + PAGE)):
            pipe.xadd(stream, {ITEM_PAYLOAD: f"item {n}"})
        pipe.execute()


def throughput(client: "Redis", results: str, begin_ms: int, end_ms: int) -> float:
    """Items/s of all pods within a window, from the times at which their results were stored.

    Each pod's rate counts from its first commit in the window to the end of the window, without the
    items of that first commit, which were processed before. A batch that is not finished at the end
    lowers the rate, and so does a pod that stopped.
    """
    commits: dict[bytes, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    after = f"{begin_ms}-0"
    while page := stream_page(client, results, after=after, until=f"{end_ms}", count=PAGE):
        for entry, fields in page:
            at = int(entry.partition(b"-")[0])
            commits[fields[RESULT_POD.encode()]][at] += 1
        after = page[-1][0].decode()
    rate = 0.0
    for by_time in commits.values():
        times = sorted(by_time)
        if times and end_ms > times[0]:
            items = sum(by_time.values()) - by_time[times[0]]
            rate += items / ((end_ms - times[0]) / 1000)
    return rate


def _wait_ready(fleet: Fleet, pods: int) -> float:
    began = time.monotonic()
    if not stack.wait_while(
        lambda: fleet.pods.filter(state=READY.value).count() < pods, seconds=START_SECONDS
    ):
        raise RuntimeError(f"{pods} pods were not READY within {START_SECONDS:.0f} s")
    return time.monotonic() - began


def _measure(fleet: Fleet, pods: int, window: float) -> Measured:
    client = redis_client(settings.REDIS_URL)
    fleet.refresh_from_db()
    operating.edit(
        fleet,
        {"max_instances": pods, "mode": Mode.RUNNING.value, "min_instances": pods},
        by="bench",
    )
    ramp = _wait_ready(fleet, pods)
    # each agent commits at least once in the window: a batch takes a second
    begin = client.time()
    stack.wait_while(lambda: True, seconds=window)
    end = client.time()
    rate = throughput(client, fleet.result_stream, begin[0] * 1000, end[0] * 1000 + end[1] // 1000)
    return Measured(pods=pods, items_per_second=rate, ramp_seconds=ramp)


def _table(measured: list[Measured]) -> Table:
    table = Table("pods", "items/s", "ideal", "efficiency", "ramp s (to N ready)")
    for m in measured:
        ideal = m.pods * RATE
        table.add_row(
            str(m.pods),
            f"{m.items_per_second:.2f}",
            f"{ideal:.0f}",
            f"{m.efficiency:.3f}",
            f"{m.ramp_seconds:.1f}",
        )
    return table


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Scale one fleet from 1 pod to 16, and measure at each size."""
    sizes, window = (SIZES[:2], 10.0) if quick else (SIZES, WINDOW_SECONDS)
    preparing.ensure_services()
    preparing.migrate()
    client = redis_client(settings.REDIS_URL)
    fleet = operating.create_fleet(
        "bench",
        by="bench",
        tick=timedelta(seconds=1),
        handler="pods.agent.handlers.pace:sleep",
        handler_env={"PACE_RATE": str(RATE)},
        target_depth_per_pod=1,
        batch_size=8,
    )
    make_consumer_group(client, fleet.stream, fleet.group)
    _fill(client, fleet.stream, int(sum(n * RATE for n in sizes) * (window + 60)))
    programs = [*stack.workers(concurrency=2), stack.beat()]
    running = stack.Stack(settings.VAR_DIR, programs, cwd=settings.BASE_DIR)
    measured: list[Measured] = []
    try:
        running.start()
        for pods in sizes:
            measured.append(_measure(fleet, pods, window))
            console.print(f"{pods} pods: {measured[-1].efficiency:.3f}")
    finally:
        fleet.refresh_from_db()
        stopping = {"mode": Mode.STOP_ALL.value, "min_instances": 0}
        operating.edit(fleet, stopping, by="bench")
        stack.wait_while(lambda: fleet.pods.billable().exists(), seconds=60)
        running.stop()
        preparing.stop_services()
    console.print(_table(measured))
    return {
        "name": "scale",
        "efficiency": {str(m.pods): round(m.efficiency, 4) for m in measured},
        "ramp_seconds": {str(m.pods): round(m.ramp_seconds, 1) for m in measured},
    }
