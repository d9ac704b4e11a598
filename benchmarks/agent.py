"""Items/s of one agent, of bare loops and of other task queues, over links of 0, 20 and 80 ms."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psutil
import redis
from django.conf import settings
from rich.console import Console
from rich.table import Table

from benchmarks import in_hand, sharing
from benchmarks.processes import running, wait_for
from benchmarks.programs.paced import FAST_RATE
from config import preparing
from pods.agent.protocol import AgentSettings, Keys
from pods.base.redis import redis_client

HERE: Final = Path(__file__).parent
PEERS: Final = HERE / "peers"
RTTS_MS: Final = (0, 20, 80)
WINDOW_SECONDS: Final = 8.0
# How often agent and bare loop run after one another: the other load of the machine changes.
TURNS: Final = 7
TURN_SECONDS: Final = 5.0
START_SECONDS: Final = 60.0
STREAM: Final = "bench"
AGENT: Final = "agent"
# Loops without heartbeat, claiming or dead letters: a reference, not a peer.
BARE: Final = ("batch", "overlapped")
OTHERS: Final = ("arq", "taskiq", "dramatiq", "streaq")  # null if they are not installed
# A handler that takes 100 ms for 64 items: 640 items/s if the link takes no time.
GPU: Final = "pods.agent.handlers.pace:each_batch"
GPU_ENV: Final = {"PACE_BATCH_SECONDS": "0.1"}
GPU_IDEAL: Final = 640.0
FAST: Final = "benchmarks.programs.paced:fast"
MB: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A program that drains a backlog, and the place where its results are counted."""

    name: str
    command: Sequence[str]
    fill: Sequence[str] = ()  # empty: it reads the stream
    backlog: int = 0
    results: str = ""  # a pattern of keys; "": the stream of results


def peer(
    name: str, python: str, backlog: int, results: str, *work: str, label: str = ""
) -> Contender:
    """The contender of one program in peers/."""
    program = [python, str(PEERS / f"{name}_peer.py")]
    return Contender(
        name=label or name, command=[*program, "work", *work], fill=[*program, "fill"],
        backlog=backlog, results=results,
    )  # fmt: skip


def contenders(others: str | None) -> list[Contender]:
    """All contenders; `others`: the python of an environment with the packages of peers/, or None."""
    bare = [sys.executable, str(PEERS / "bare.py")]
    agent = [sys.executable, "-m", "pods.agent"]
    meta = "celery-task-meta-*"
    found = [
        Contender(name=AGENT, command=agent),
        *(Contender(name=n, command=[*bare, n]) for n in ("naive", *BARE)),
        peer("celery", sys.executable, 20_000, meta, "prefork", label="celery prefork"),
        peer("celery", sys.executable, 20_000, meta, "threads", label="celery threads"),
    ]
    if others is not None:
        found += [
            peer("arq", others, 25_000, "arq:result:*"),
            peer("taskiq", others, 40_000, "bench-taskiq-result*"),
            peer("dramatiq", others, 25_000, "[0-9a-f]*"),
            peer("streaq", others, 40_000, "streaq:bench:task:results:*"),
        ]
    return found


def free_port() -> int:
    """A port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def link(url: str, rtt_ms: int) -> Iterator[str]:
    """The address of the server through a link with this round-trip time."""
    if not rtt_ms:
        yield url
        return
    parts, port = urlsplit(url), free_port()
    command = [sys.executable, str(HERE / "delay.py"), str(rtt_ms), str(port), str(parts.port)]
    with running(command, {}):
        far = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))
        client = redis.Redis.from_url(far, protocol=2)
        wait_for(lambda: answers(client), START_SECONDS)
        yield far


def answers(client: "redis.Redis") -> bool:
    """Whether a server answers."""
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def stored(client: "redis.Redis", contender: Contender, results: str) -> int:
    """The number of stored results."""
    if not contender.results:
        return int(client.xlen(results))
    return sum(1 for _ in client.scan_iter(match=contender.results, count=20_000))


def environment(
    url: str, results: str, handler: str = "pods.agent.handlers.pace:nothing"
) -> dict[str, str]:
    """The environment variables of a contender."""
    agent_settings = AgentSettings(
        redis_url=url, fleet="bench", pod="bench-1", stream=STREAM, group=results, handler=handler,
        results=results,
    )  # fmt: skip
    return {
        **agent_settings.env(), "REDIS_URL": url, "BENCH_GROUP": results, "BENCH_RESULTS": results,
    }  # fmt: skip


def fill_stream(client: "redis.Redis", count: int) -> None:
    """Put `count` small items on the stream, more than the fastest contender takes in its window."""
    client.delete(STREAM)
    step = 5_000
    for start in range(0, count, step):
        pipe = client.pipeline(transaction=False)
        for n in range(start, min(start + step, count)):
            pipe.xadd(STREAM, {"payload": f"item {n}", "id": str(n)})
        pipe.execute()


def rate(direct: str, far: str, contender: Contender, seconds: float = WINDOW_SECONDS) -> float:
    """Stored results per second, in a window that begins a second after the first result."""
    client, results = redis_client(direct), f"bench:{contender.name}".replace(" ", "-")
    if contender.fill:
        env = {**os.environ, "REDIS_URL": direct}
        fill = [*contender.fill, str(contender.backlog)]
        subprocess.run(
            fill, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    else:
        client.xgroup_create(STREAM, results, id="0")
    client.delete(Keys("bench").fence("bench-1"))
    with running(contender.command, environment(far, results)):
        if not wait_for(lambda: stored(client, contender, results) > 0, START_SECONDS):
            raise RuntimeError(f"{contender.name} stored nothing within {START_SECONDS:g} s")
        time.sleep(1.0)
        first, began = stored(client, contender, results), time.monotonic()
        last, ended = first, began
        while ended - began < seconds:
            time.sleep(0.5)
            now = stored(client, contender, results)
            if now == last and now > first:
                break  # the backlog is drained
            last, ended = now, time.monotonic()
    clear(client, contender, results)
    return (last - first) / max(ended - began, 0.001)


def in_turns(url: str, console: Console, turns: int) -> list[dict[str, float]]:
    """Measure the agent and the plain batch loop in turns, without a link; the rates of each turn."""
    pair = [c for c in contenders(None) if c.name in (AGENT, BARE[0])]
    found = []
    for _ in range(turns):
        turn = {c.name: round(rate(url, url, c, TURN_SECONDS), 1) for c in pair}
        console.print(f"in turns: {turn}")
        found.append(turn)
    return found


def clear(client: "redis.Redis", contender: Contender, results: str) -> None:
    """Remove everything that a contender stored, but not the stream that all of them read."""
    if contender.fill:
        for key in client.scan_iter(count=20_000):
            if key != STREAM.encode():
                client.unlink(key)
        return
    client.unlink(results)
    client.xgroup_destroy(STREAM, results)


def share_of(direct: str, far: str, ideal: float, handler: str, **env: str) -> float:
    """The share of `ideal` items/s that the agent reaches with a handler of that pace."""
    client, results = redis_client(direct), "bench:share"
    client.xgroup_create(STREAM, results, id="0")
    with running([sys.executable, "-m", "pods.agent"], environment(far, results, handler) | env):
        wait_for(lambda: client.xlen(results) > 3 * ideal, START_SECONDS)
        first, began = client.xlen(results), time.monotonic()
        time.sleep(2 * WINDOW_SECONDS)
        done, seconds = client.xlen(results) - first, time.monotonic() - began
    client.unlink(results)
    client.xgroup_destroy(STREAM, results)
    return round(done / seconds / ideal, 4)


def memory(direct: str, count: int, size: int) -> dict[str, float]:
    """Resident MB of an agent and its handler, after a tenth of the items and at the end."""
    client, results = redis_client(direct), "bench:memory"
    client.delete(STREAM)
    client.xgroup_create(STREAM, results, id="0", mkstream=True)
    env = {**environment(direct, results), "PODFLEET_LONGEST_RESULTS": "1000"}
    payload, ahead, fed, start = b"x" * size, max(100, 64 * MB // size), 0, 0.0
    with running([sys.executable, "-m", "pods.agent"], env) as process:
        while True:
            group = client.xinfo_groups(STREAM)[0]
            done = fed - int(group["lag"] or 0) - int(group["pending"])
            if not start and done >= count // 10:
                start = resident(process.pid)
            if done >= count:
                break
            step = min(count - fed, ahead - int(group["lag"] or 0))
            if step <= 0:
                time.sleep(0.01)
                continue
            pipe = client.pipeline(transaction=False)
            for n in range(fed, fed + step):
                pipe.xadd(STREAM, {"payload": payload, "id": str(n)})
            # The agent has far fewer items in hand.
            pipe.xtrim(STREAM, maxlen=8 * ahead + 1_000, approximate=True)
            pipe.execute()
            fed += step
        end = resident(process.pid)
    client.unlink(STREAM, results)
    return {"items": count, "bytes": size, "start_mb": start, "end_mb": end}


def resident(pid: int) -> float:
    """Resident MB of a process and its children."""
    process = psutil.Process(pid)
    whole = [process, *process.children(recursive=True)]
    return round(sum(p.memory_info().rss for p in whole) / MB, 1)


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure all contenders on all links; only `make bench` installs the other task queues."""
    preparing.ensure_services()
    peers = settings.BASE_DIR / ".venv-peers"
    everyone = contenders(str(peers / "bin/python") if (peers / ".made").exists() else None)
    rtts = RTTS_MS[:2] if quick else RTTS_MS
    table = Table("items/s", *(f"RTT {rtt} ms" for rtt in rtts))
    found: dict[str, dict[str, float | None]] = {c.name: {} for c in everyone}
    turns: list[dict[str, float]] = []
    loads = [round(os.getloadavg()[0], 1)]
    try:
        client = redis_client(settings.REDIS_URL)
        client.flushall()
        client.config_set("appendonly", "no")  # no contender waits for the disk
        for rtt in rtts:
            fill_stream(client, 100_000 if quick else (1_200_000 if not rtt else 300_000))
            with link(settings.REDIS_URL, rtt) as far:
                for contender in everyone:
                    try:
                        measured = round(rate(settings.REDIS_URL, far, contender), 1)
                    except (RuntimeError, subprocess.CalledProcessError) as exc:
                        console.print(f"{contender.name}: {exc}")
                        measured = None
                    found[contender.name][str(rtt)] = measured
                    console.print(f"RTT {rtt} ms, {contender.name}: {measured} items/s")
            if not rtt:
                turns = in_turns(settings.REDIS_URL, console, 2 if quick else TURNS)
        with link(settings.REDIS_URL, 80) as far:
            gpu = share_of(settings.REDIS_URL, far, GPU_IDEAL, GPU, **GPU_ENV)
            fast = share_of(settings.REDIS_URL, far, FAST_RATE, FAST)
            console.print(f"RTT 80 ms: {gpu} of a handler of 640/s, {fast} of one of 10,000/s")
        shared = sharing.drain_over_ideal(client, settings.REDIS_URL, quick=quick)
        console.print(f"drain over ideal: {shared}")
        by_way = in_hand.memory_by_way(client, settings.REDIS_URL, quick=quick)
        console.print(f"memory: {by_way}")
        big = (5_000, 200) if quick else (1_000_000, 10_000)
        rss = [memory(settings.REDIS_URL, big[0], 1024), memory(settings.REDIS_URL, big[1], MB)]
    finally:
        preparing.stop_services()
    for name, rates in found.items():
        table.add_row(name, *(str(rates.get(str(rtt))) for rtt in rtts))
    console.print(table)
    found |= {name: dict.fromkeys(map(str, rtts)) for name in OTHERS if name not in found}
    loads.append(round(os.getloadavg()[0], 1))
    return {
        "name": "agent", "items_per_second": found, "rss_mb": rss, "load_average": loads,
        "memory_by_way": by_way, "turns_rtt0": turns, "drain_over_ideal": shared,
        "fraction_of_fast_handler_80ms": fast, "gpu_bound_fraction_80ms": gpu,
        **ratios(found, turns, rtts),
    }  # fmt: skip


def ratios(
    found: Mapping[str, Mapping[str, float | None]],
    turns: Sequence[Mapping[str, float]],
    rtts: Sequence[int],
) -> dict[str, Any]:
    """The agent's rate divided by its best peer's, and by the bare loop's (the median of the turns)."""
    to_bare_loop = [turn[AGENT] / turn[BARE[0]] for turn in turns]
    peers = [name for name in found if name != AGENT and name not in BARE]
    agent = found[AGENT]
    return {
        "ratio_to_best_peer": {
            str(rtt): round(
                (agent[str(rtt)] or 0) / max(found[p].get(str(rtt)) or 0.001 for p in peers), 3
            )
            for rtt in rtts
        },
        "ratio_to_bare_loop_rtt0": round(median(to_bare_loop), 3),
        "ratios_to_bare_loop_rtt0": [round(ratio, 3) for ratio in to_bare_loop],
    }
