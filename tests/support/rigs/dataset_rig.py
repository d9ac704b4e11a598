"""A dataset with real agents: input files, ranges on a stream, and what is in the sink at the end."""

import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pods.agent.dataset.stores import Place, place
from pods.agent.protocol import DATASET
from pods.agent.ranges import Range, Receipt
from tests.support.dataset_files import put_table, whole
from tests.support.rigs.agent_rig import Agents, Backlog
from tests.support.waiting import until


class Dataset:
    """Ranges on a stream, and the parts that agents make of them."""

    def __init__(self, backlog: Backlog, agents: Agents, folder: str) -> None:
        self.backlog, self.agents = backlog, agents
        self.input, self.sink = place(f"{folder}/in"), place(f"{folder}/out")
        self.planned = 0

    @classmethod
    def in_folder(cls, backlog: Backlog, agents: Agents, folder: Path) -> "Dataset":
        for name in ("in", "out"):
            (folder / name).mkdir(exist_ok=True)
        return cls(backlog, agents, folder.as_uri())

    def texts(self, texts: Sequence[str], *, name: str = "t.parquet", group: int = 100) -> Range:
        """One range for a Parquet file with these texts."""
        ids = [f"{name}-{n}" for n in range(len(texts))]
        source = put_table(self.input.at(name), {"id": ids, "text": list(texts)}, group=group)
        return whole(source, len(texts), self.sink.url)

    def feed(self, *ranges: Range) -> list[str]:
        entries = []
        for of in ranges:
            fields: Any = of.entry()
            entry: Any = self.backlog.client.xadd(self.backlog.stream, fields)
            entries.append(entry.decode())
            self.planned += of.rows
        rows = self.backlog.keys.rows
        self.backlog.client.hset(rows, "planned", str(self.planned))
        return entries

    def start(
        self, pod: str, handler: str = "length", env: dict[str, str] | None = None, **settings: Any
    ) -> subprocess.Popen[bytes]:
        return self.agents.start(
            self.backlog, pod, f"dataset_handlers:{handler}", env=env, kind=DATASET, **settings
        )

    def receipts(self) -> list[Receipt]:
        return [Receipt.loads(raw) for raw in self.backlog.results().values()]

    def rows(self) -> dict[str, int]:
        said: Any = self.backlog.client.hgetall(self.backlog.keys.rows)
        return {k.decode(): int(v) for k, v in said.items() if k != b"schema"}

    def until_drained(self, ranges: int | None = None) -> None:
        """Wait until nothing is left on the stream, and each range that is known has a receipt."""
        until(lambda: self._drained(ranges))

    def _drained(self, ranges: int | None) -> bool:
        if ranges is not None and len(self.receipts()) < ranges:
            return False
        groups: Any = self.backlog.client.xinfo_groups(self.backlog.stream)
        return bool(groups[0]["pending"] == 0 and groups[0]["lag"] == 0)

    def results(self) -> dict[str, Any]:
        """The result of each good row, by id."""
        return {row["id"]: row["result"] for row in self._read(r.part for r in self.receipts())}

    def errors(self) -> dict[str, dict[str, Any]]:
        """The failed rows, by id."""
        names = [r.errors for r in self.receipts() if r.errors]
        return {row["id"]: row for row in self._read(names)}

    def _read(self, names: Iterable[str]) -> list[dict[str, Any]]:
        return [row for name in names for row in table_at(self.sink.at(name)).to_pylist()]

    def assert_each_row_once(self, ids: Iterable[str]) -> None:
        """Each row has one output row or one error row, and the counts and receipts say the same."""
        good = [row["id"] for row in self._read(r.part for r in self.receipts())]
        bad = [row["id"] for row in self._read(r.errors for r in self.receipts() if r.errors)]
        assert Counter(good + bad) == Counter(ids)
        counted = self.rows()
        assert counted["done"] == len(good) == sum(r.done for r in self.receipts())
        assert counted["failed"] == len(bad) == sum(r.failed for r in self.receipts())
        assert counted["planned"] == len(good) + len(bad)
        for receipt in self.receipts():
            found = self.sink.at(receipt.part).head()
            assert (found.etag, found.size) == (receipt.etag, receipt.part_bytes)

    def parts(self) -> set[str]:
        return {found.name for found in self.sink.list() if not found.name.startswith("errors/")}


def table_at(file: Place) -> pa.Table:
    return pq.read_table(pa.BufferReader(file.get()))


def texts(count: int, bad: Iterable[int] = ()) -> list[str]:
    """Texts whose lengths differ; the bad ones begin with `bad`."""
    worst = set(bad)
    return [("bad" if n in worst else "row") + "x" * (n % 50) for n in range(count)]
