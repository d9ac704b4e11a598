"""The memory of an agent by the size of its items, and by the way in which they come into its hand."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import psutil
import redis

from benchmarks.processes import running
from pods.agent.protocol import AgentSettings

STREAM: Final = "held"
POD: Final = "held-1"
MB: Final = 2**20
KB: Final = 1024
WAYS: Final = ("read", "claim", "recover", "retry")
# More than an agent may hold. Of items of 1 KB it is not the bytes that bound what it holds.
COUNTS: Final = {KB: 4_000, MB: 400, 8 * MB: 64}
BATCH_SECONDS: Final = 0.2  # short, so that the agent reads as far ahead as it may
STEP: Final = 500
LONGEST_SECONDS: Final = 180.0


def memory_by_way(
    client: "redis.Redis", url: str, *, quick: bool = False
) -> Sequence[dict[str, Any]]:
    """The most resident MB of the agent and of its handler's process, for each way and size."""
    sizes = (MB,) if quick else tuple(COUNTS)
    return [_peaks(client, url, way, size) for size in sizes for way in WAYS]


def _peaks(client: "redis.Redis", url: str, way: str, size: int) -> dict[str, Any]:
    count, results = COUNTS[size], f"{STREAM}:results"
    _prepare(client, way, size, count)
    handler = "pods.agent.handlers.pace:each_batch"
    told = AgentSettings(
        redis_url=url, fleet="bench", pod=POD, stream=STREAM, group=STREAM, claim_idle_seconds=1.0,
        handler="benchmarks.programs.paced:fails_a_third_at_first" if way == "retry" else handler,
    )  # fmt: skip
    agent = child = 0
    end = time.monotonic() + LONGEST_SECONDS
    env = {**told.env(), "PACE_BATCH_SECONDS": str(BATCH_SECONDS)}
    with running([sys.executable, "-m", "pods.agent"], env) as process:
        while (done := client.xlen(results)) < count and time.monotonic() < end:
            agent = max(agent, _resident(process.pid))
            children = psutil.Process(process.pid).children(recursive=True)
            child = max([child, *(_resident(c.pid) for c in children)])
            time.sleep(0.02)
    client.unlink(STREAM, results)
    return {
        "way": way, "bytes": size, "items": count, "done": done, "agent_mb": round(agent / MB),
        "handler_mb": round(child / MB),
    }  # fmt: skip


def _prepare(client: "redis.Redis", way: str, size: int, count: int) -> None:
    """Put items on the stream. They are new, or a dead pod or this pod's former agent has them."""
    client.unlink(STREAM)
    client.xgroup_create(STREAM, STREAM, id="0", mkstream=True)
    payload, step = os.urandom(size), max(1, min(STEP, 32 * MB // size))
    owner = {"claim": "dead", "recover": POD}.get(way)
    for first in range(0, count, step):
        pipe = client.pipeline(transaction=False)
        for n in range(first, min(first + step, count)):
            pipe.xadd(STREAM, {"payload": payload, "id": str(n)})
        entries = pipe.execute()
        if owner is not None:
            client.xreadgroup(STREAM, owner, {STREAM: ">"}, count=step)
            client.xclaim(STREAM, STREAM, owner, 0, entries, idle=3_600_000, justid=True)


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
