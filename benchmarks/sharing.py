"""How long a small backlog takes on several agents, compared with an even share for each."""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final

import redis

from benchmarks.processes import running, wait_for
from pods.agent.protocol import AgentSettings, AgentState, Heartbeat, Keys

STREAM: Final = "shared"
PODS: Final = (1, 3, 8)
ITEM_SECONDS: Final = (0.005, 0.5, 1.0)
IDEAL_SECONDS: Final = 10.0
START_SECONDS: Final = 120.0
LONGEST_SECONDS: Final = 120.0


def drain_over_ideal(
    client: "redis.Redis", url: str, *, quick: bool = False
) -> Mapping[str, Mapping[str, float]]:
    """By item time and number of agents: the time until the last result, divided by the ideal."""
    return {
        f"{seconds:g} s": {
            str(pods): round(_drained(client, url, pods, seconds) / IDEAL_SECONDS, 3)
            for pods in (PODS[:2] if quick else PODS)
        }
        for seconds in (ITEM_SECONDS[1:2] if quick else ITEM_SECONDS)
    }


def _drained(client: "redis.Redis", url: str, pods: int, item_seconds: float) -> float:
    """The seconds from the first item to the last result, with agents that are ready before."""
    results, items = f"{STREAM}:results", round(pods * IDEAL_SECONDS / item_seconds)
    client.unlink(STREAM, results)
    client.xgroup_create(STREAM, STREAM, id="0", mkstream=True)
    names = [f"shared-{n}" for n in range(pods)]
    with ExitStack() as stack:
        for name in names:
            client.unlink(Keys("bench").pod(name))
            told = AgentSettings(
                redis_url=url, fleet="bench", pod=name, stream=STREAM, group=STREAM,
                handler="pods.agent.handlers.pace:each_item",
            )  # fmt: skip
            env = {**told.env(), "PACE_ITEM_SECONDS": str(item_seconds)}
            stack.enter_context(running([sys.executable, "-m", "pods.agent"], env))
        if not wait_for(lambda: all(_works(client, name) for name in names), START_SECONDS):
            raise RuntimeError(f"{pods} agents were not ready within {START_SECONDS:g} s")
        pipe = client.pipeline(transaction=False)
        for n in range(items):
            pipe.xadd(STREAM, {"payload": "x", "id": str(n)})
        began = time.monotonic()
        pipe.execute()
        wait_for(lambda: client.xlen(results) >= items, LONGEST_SECONDS)
        return time.monotonic() - began


def _works(client: "redis.Redis", name: str) -> bool:
    said: Any = client.hgetall(Keys("bench").pod(name))
    beat = Heartbeat.parse(said)
    return beat is not None and beat.state is AgentState.WORKING
