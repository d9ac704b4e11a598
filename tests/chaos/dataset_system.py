"""A dataset under test: real agents, a Valkey and an S3 server of their own, and proxies between."""

import io
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import redis
from django.core.management import call_command

from config.env import ROOT
from fleet.datasets import feeding, finishing
from fleet.models import Dataset, Fleet
from fleet.tick.requesting import agent_settings
from pods.agent.dataset.stores import Place
from pods.agent.protocol import AgentSettings, Keys
from pods.agent.ranges import ERRORS_FOLDER, Compression
from tests.chaos.proxy import Proxy
from tests.support.dataset_files import packed
from tests.support.factories import a_fleet
from tests.support.fleet_command import run
from tests.support.object_store import ObjectStore, object_store, place
from tests.support.rigs.agent_rig import HANDLERS, Server
from tests.support.store_proxy import StoreProxy

FLEET: Final = "chaotic"
ROWS_PER_RANGE: Final = 400
PACE_SECONDS: Final = "0.004"  # of a row
FEWEST_RANGES: Final = 12  # more is fed, so that agents have work
BAD: Final = "bad"  # texts that the handler refuses
ENDS: Final = "end"  # that end its process
POD: Final = "pod"  # that end the whole pod
# Texts so long that a part is put in pieces.
LONG_ROWS: Final = 800
LONG_BYTES: Final = 25_000


class Agent:
    """One agent, with a proxy of its own in front of the store."""

    def __init__(self, system: "DatasetSystem", pod: str) -> None:
        self.pod, self.store = pod, StoreProxy(system.store.port)
        said: dict[str, Any] = agent_settings(system.fleet)
        told = AgentSettings(redis_url=system.redis_by_proxy, pod=pod, **said)
        with (system.folder / "agents.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pods.agent"], cwd=ROOT, stdout=log, stderr=log,
                start_new_session=True, env=self._environment(told),
            )  # fmt: skip

    def _environment(self, told: AgentSettings) -> dict[str, str]:
        more = {"PYTHONPATH": str(HANDLERS), "AWS_ENDPOINT_URL": self.store.endpoint}
        return {**os.environ, "PACE_SECONDS": PACE_SECONDS, **told.env(), **more}

    @property
    def lives(self) -> bool:
        """Whether its process has not ended."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the agent and to its handler's process."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End both at once."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End it, and its proxy."""
        self.kill()
        self.store.close()


@dataclass(slots=True, kw_only=True)
class DatasetSystem:
    """What faults break, and what the proof reads afterwards."""

    fleet: Fleet
    folder: Path
    store: ObjectStore
    server: Server
    redis_proxy: Proxy
    random: random.Random
    agents: list[Agent] = field(default_factory=list)
    frozen: list[Agent] = field(default_factory=list)
    wanted: dict[str, int] = field(default_factory=dict)  # the id of each row -> length of its text
    failing: set[str] = field(default_factory=set)  # rows that must be error rows
    files: int = 0
    pods: int = 0
    ended: int = 0  # agents that ended and were replaced

    @property
    def redis_by_proxy(self) -> str:
        """The address of the server as agents have it."""
        return f"redis://127.0.0.1:{self.redis_proxy.port}/0"

    def keep_running(self, count: int) -> None:
        """Replace agents that have ended. One in four goes on under the name of the one before."""
        for agent in [a for a in self.agents if not a.lives]:
            self.agents.remove(agent)
            self.frozen = [a for a in self.frozen if a is not agent]
            agent.close()
            self.ended += 1
            if self.random.random() < 0.25:
                self.agents.append(Agent(self, agent.pod))
        while len(self.agents) < count:
            self.pods += 1
            self.agents.append(Agent(self, f"pod-{self.pods}"))

    def any_agent(self) -> Agent | None:
        """One that is neither frozen nor at its end."""
        awake = [a for a in self.agents if a.lives and a not in self.frozen]
        return self.random.choice(awake) if awake else None

    def drain(self, agent: Agent) -> None:
        """Ask an agent to end, as the manager does."""
        self.server.client.set(Keys(FLEET).command(agent.pod), "drain")

    def thaw(self) -> None:
        """Let all frozen agents go on."""
        for agent in self.frozen:
            agent.signal(signal.SIGCONT)
        self.frozen = []

    # The input.

    def add_files(self) -> None:
        """Put one more file of each kind into the input."""
        self.files += 1
        number = self.files
        place(self.store, f"in/a{number}.parquet").put(self._table(f"a{number}", 3000))
        place(self.store, f"in/b{number}.jsonl").put(self._lines(f"b{number}", 2000))
        zipped = packed(self._lines(f"c{number}", 1000), Compression.GZIP)
        place(self.store, f"in/c{number}.jsonl.gz").put(zipped)
        if number == 1:
            place(self.store, "in/long.parquet").put(self._long())

    def _texts(self, name: str, count: int) -> list[str]:
        worst = dict.fromkeys(self.random.sample(range(count), 5), BAD)
        worst[self.random.randrange(count)] = ENDS
        if self.files == 1 and name[0] in "ab":
            worst[self.random.randrange(count)] = POD
        texts = [worst.get(n, "row") + "x" * self.random.randrange(60) for n in range(count)]
        self.wanted |= {f"{name}-{n}": len(text) for n, text in enumerate(texts)}
        self.failing |= {f"{name}-{n}" for n in worst}
        return texts

    def _table(self, name: str, count: int) -> bytes:
        texts = self._texts(name, count)
        table = pa.table({"id": [f"{name}-{n}" for n in range(count)], "text": texts})
        return _parquet(table, 700)

    def _lines(self, name: str, count: int) -> bytes:
        made = enumerate(self._texts(name, count))
        return b"".join(
            json.dumps({"id": f"{name}-{n}", "text": text}).encode() + b"\n" for n, text in made
        )

    def _long(self) -> bytes:
        texts = ["row" + self.random.randbytes(LONG_BYTES // 2).hex() for _ in range(LONG_ROWS)]
        self.wanted |= {f"long-{n}": len(text) for n, text in enumerate(texts)}
        return _parquet(
            pa.table({"id": [f"long-{n}" for n in range(LONG_ROWS)], "text": texts}), 100
        )

    def keep_fed(self) -> None:
        """Add files and feed them where few ranges are left."""
        if self.left() < FEWEST_RANGES:
            self.add_files()
            self.feed()

    def feed(self) -> dict[str, Any]:
        """Run `fleet feed`."""
        answer = run(
            "feed", FLEET, f"{self.store.url}/in/", "--into", f"{self.store.url}/out",
            "--rows-per-range", ROWS_PER_RANGE, "--json",
        )  # fmt: skip
        told: dict[str, Any] = json.loads(answer)
        return told

    # The proof.

    def left(self) -> int:
        """Ranges that are not finished."""
        standing = feeding.stream_of(self.fleet).look()
        return standing.left + len(standing.dead)

    def finish(self) -> str:
        """Finish the dataset as the manager does; why it cannot be finished, or ''."""
        dataset = Dataset.objects.get()
        return "" if finishing.finish_dataset(dataset.pk) else Dataset.objects.get().note

    def verified(self) -> dict[str, Any]:
        """What `fleet verify --deep` says."""
        out = io.StringIO()
        with suppress(SystemExit):
            call_command("fleet", "verify", FLEET, "--deep", "--json", stdout=out)
        told: dict[str, Any] = json.loads(out.getvalue())
        return told

    def rows_in_the_sink(self) -> tuple[Counter[str], set[str], list[str]]:
        """All ids in parts and errors files, those that failed, and results that are wrong."""
        ids: Counter[str] = Counter()
        failed: set[str] = set()
        wrong: list[str] = []
        for found in place(self.store, "out").list():
            file = place(self.store, f"out/{found.name}")
            if found.name.startswith(f"{ERRORS_FOLDER}/"):
                rows = _rows(file)
                failed |= {row["id"] for row in rows}
            elif found.name.startswith("part-"):
                rows = _rows(file)
                wrong += [r["id"] for r in rows if r["size"] != self.wanted.get(r["id"])]
            else:
                continue
            ids.update(row["id"] for row in rows)
        return ids, failed, wrong


def _rows(file: Place) -> list[dict[str, Any]]:
    table = pq.read_table(pa.BufferReader(file.get()))
    names = [name for name in ("id", "size") if name in table.schema.names]
    rows: list[dict[str, Any]] = table.select(names).to_pylist()
    return rows


def _parquet(table: pa.Table, group: int) -> bytes:
    made = io.BytesIO()
    pq.write_table(table, made, row_group_size=group)
    return made.getvalue()


@contextmanager
def prepared(folder: Path, seed: int) -> Iterator[DatasetSystem]:
    """The fleet, its servers and its first files; no agent runs yet."""
    (folder / "redis").mkdir()
    server = Server(folder / "redis")
    proxy = Proxy(lambda: ("127.0.0.1", server.port))
    try:
        with object_store(folder) as store:
            fleet = a_fleet(
                name=FLEET, backlog="dataset", stream=FLEET, group=FLEET, backlog_url=server.url,
                handler="dataset_handlers:chaotic", batch_size=64, claim_idle_seconds=3,
                heartbeat_seconds=0.5, drain_seconds=10, max_deliveries=5,
            )  # fmt: skip
            system = DatasetSystem(
                fleet=fleet, folder=folder, store=store, server=server, redis_proxy=proxy,
                random=random.Random(seed),
            )  # fmt: skip
            try:
                yield system
            finally:
                for agent in system.agents:
                    agent.close()
    finally:
        proxy.close()
        server.client.close()
        server.kill()


def answers(client: "redis.Redis") -> bool:
    """Whether the server answers."""
    with suppress(redis.RedisError):
        return bool(client.ping())
    return False
