"""The agents of a dataset: they take ranges, put parts, commit, hand back rests, and die in between."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
from redis import RedisError

from fleet.datasets import feeding, verifying
from fleet.datasets.coverage import bounds, missing, overlap
from fleet.datasets.feeding import Request
from fleet.datasets.standing import AnotherFeeder, Standing
from fleet.models import Dataset, Fleet
from pods.agent.dataset import stores
from pods.agent.dataset.dividing import MOST_DIVISIONS, PIECE_TRIES, pieces_of
from pods.agent.dataset.stores import AlreadyThere, StoreError
from pods.agent.protocol import RELEASED_CONSUMER, Command
from pods.agent.ranges import DIVIDED, ERRORS_FOLDER, SUCCESS, PartName, Range, Receipt
from pods.agent.stream import Scripts
from pods.base.clock import utcnow
from tests.simulation.agents import ITEMS_PER_SECOND, Agents, Running
from tests.simulation.draws import Draws
from tests.simulation.limits import Violated
from tests.simulation.redis_faults import FaultyRedis
from tests.simulation.vendors import Machine, Vendor
from tests.simulation.worker import Worker

ROWS_PER_RANGE: Final = 200
ROWS_FOR_AN_ITEM: Final = 4
RANGES_AT_ONCE: Final = 2
BAD_EACH: Final = 40  # one row in so many fails everywhere
FROZEN_SECONDS: Final = (90, 300, 1800)  # longer than the time after which others claim
TRIES: Final = 5


@dataclass(slots=True)
class _Held:
    """A range in an agent's hand."""

    of: Range
    divided: bool
    rows: int = 0  # that the handler has finished


class RangeAgents(Agents):
    """The agents of a fleet with a dataset, whose store is in memory. Its items are rows."""

    def __init__(
        self,
        vendors: Sequence[Vendor],
        fleet: Fleet,
        server: FaultyRedis,
        draws: Draws,
        worker: Worker,
    ) -> None:
        super().__init__(vendors, fleet, server, draws)
        self._worker, self._scripts = worker, Scripts(server.client)
        self.folder = f"s3://sim/{fleet.name}"
        self._files: dict[str, int] = {}  # name -> rows
        self._to_feed = False  # files were added, or Redis was emptied
        self._finished: dict[int, Any] = {}  # the version of the dataset -> when it was finished
        self.server.fed_at = utcnow()

    # What an operator does.

    def add_items(self, count: int) -> None:
        """Put a file with so many rows into the input, and feed it."""
        if count:
            name, count = f"f{len(self._files)}", ROWS_FOR_AN_ITEM * count
            ids = [f"{name}-{n}" for n in range(count)]
            self._files[name] = count
            place = stores.place(f"{self.folder}/in/{name}.parquet")
            place.put(_parquet(ids))
            self._to_feed = True
        self.feed()

    def feed(self) -> None:
        """Run `fleet feed`, which may be killed at any of its calls, if there is a reason."""
        if self._to_feed and self._files and not self.server.dead:
            self._worker.run("fleet feed", self._feed)

    def _feed(self) -> None:
        request = Request(
            urls=[f"{self.folder}/in/"], sink=f"{self.folder}/out/", rows_per_range=ROWS_PER_RANGE
        )
        try:
            feeding.feed(self.fleet, request)
        except (RedisError, AnotherFeeder, StoreError) as exc:
            self._draws.record(f"fleet feed: {type(exc).__name__}")
            return
        self._to_feed = False
        self.server.fed_at = utcnow()

    def stop_faults(self) -> None:
        """Let everything work again; an operator feeds what Redis has lost."""
        super().stop_faults()
        for _ in range(3):  # it may be killed
            self.feed()

    def forget_items(self) -> None:
        """The server was emptied. Agents work on what they have, and an operator feeds again later."""
        self._to_feed = True

    def restore_counts(self, counts: tuple[int, int]) -> None:
        """A replica took over that lacks the last writes, which may be those of a feed."""
        self._to_feed = True

    @property
    def left(self) -> int:
        """Rows that are not finished, counted as items; all of them, where they were not fed."""
        if self._to_feed:
            return sum(self._files.values())
        standing = feeding.stream_of(self.fleet).look()
        rows = sum(standing.waiting.values()) + sum(standing.pending.values())
        return -(-rows // ROWS_FOR_AN_ITEM)

    # What the agents do.

    def step(self, *, managed: bool) -> None:
        """Advance every agent to the clock; sometimes an operator feeds again."""
        if self._to_feed and self._draws.random.random() < 0.3:
            self.feed()
        super().step(managed=managed)

    def _cause_faults(self, machine: Machine, agent: Running) -> None:
        super()._cause_faults(machine, agent)
        if self._draws.occurs(0.02, f"the agent of {machine.id} dies"):
            agent.dies = "before a put"
        if self._draws.occurs(0.05, f"the agent of {machine.id} will die between put and commit"):
            agent.dies = "between put and commit"
        if self._draws.occurs(0.01, f"an operator drains {machine.id}"):
            self._redis.set(self._keys.command(machine.name), Command.DRAIN.value)
        if own := self._draws.occurs(0.02, f"the agent of {machine.id} is frozen"):
            agent.frozen_until = utcnow() + timedelta(seconds=own.choice(FROZEN_SECONDS))

    def _work(self, vendor: Vendor, machine: Machine, agent: Running) -> None:
        if agent.frozen_until is not None:
            if utcnow() < agent.frozen_until:
                return
            agent.frozen_until = None
        super()._work(vendor, machine, agent)
        if agent.dies == "now" or (agent.dies == "before a put" and agent.in_hand):
            self._draws.record(f"the agent of {machine.id} starts again")
            self._running.pop(machine.id, None)  # another one begins under its name

    def _finish(self, name: str, agent: Running, *, everything: bool) -> None:
        """Work on rows since the last step; put and commit what is finished."""
        rows = int(ITEMS_PER_SECOND * ROWS_FOR_AN_ITEM * (utcnow() - agent.at).total_seconds())
        try:
            while agent.in_hand and rows > 0 and agent.dies != "now":
                held = agent.held[agent.in_hand[0]]
                some = min(rows, held.of.rows - held.rows)
                held.rows, rows = held.rows + some, rows - some
                if held.rows < held.of.rows:
                    break
                self._end_range(name, agent, agent.in_hand[0])
                if not everything:
                    self._take(name, agent)
            while everything and agent.in_hand and agent.dies != "now":
                self._end_range(name, agent, agent.in_hand[0])
        except RedisError:
            return
        if not agent.in_hand and agent.taken_at is not None:
            agent.taken_at, agent.idle_since = None, utcnow()

    def _end_range(self, name: str, agent: Running, entry: bytes) -> None:
        """Put the part of what is finished, and commit it with the rest; release it without any."""
        held: _Held = agent.held[entry]
        of, start = held.of, held.of.start
        if not held.rows:
            self._call("release", name, [RELEASED_CONSUMER, entry, 1])
        else:
            done, rest = of, []
            if held.rows < of.rows:
                done = of.until(start + held.rows, held.rows)
                rest = [of.rest(start + held.rows, of.rows - held.rows)]
                self._draws.record(f"{name} hands back {rest[0].rows} rows of {of.rows}")
            created, receipt = self._put(agent, done)
            if agent.dies == "between put and commit":
                agent.dies = "now"
                return
            self._commit(name, agent, entry, held, done, rest, receipt, created=created)
        agent.in_hand.remove(entry)
        del agent.held[entry]

    def _put(self, agent: Running, of: Range) -> tuple[bool, Receipt]:
        """Put errors and part. Returns whether the part was not there, and the receipt."""
        assert of.end is not None
        file = of.source.url.rpartition("/")[2].removesuffix(".parquet")
        ids = [f"{file}-{n}" for n in range(of.start, of.end)]
        ill = {ids[0]} if agent.fails else set()
        failed = [i for i in ids if i in ill or not crc32(i.encode()) % BAD_EACH]
        name, sink = PartName.of(of, failed), stores.place(of.sink)
        if failed:
            sink.at(name.errors_name).put(_parquet(failed))
        try:
            etag = sink.at(str(name)).put(
                _parquet([i for i in ids if i not in failed]), create=True
            )
            created = True
        except AlreadyThere:
            etag, created = sink.at(str(name)).head().etag, False
        rows, bad = len(ids), len(failed)
        return created, Receipt(
            range=of.id, source=of.source.url, start=of.start, end=of.end, rows=rows,
            done=rows - bad, failed=bad, part_bytes=1, seconds=1.0, part=str(name), etag=etag,
            errors=name.errors_name, samples=["ValueError: bad"] * min(bad, 3),
        )  # fmt: skip

    def _commit(
        self,
        name: str,
        agent: Running,
        entry: bytes,
        held: _Held,
        done: Range,
        rest: Sequence[Range],
        receipt: Receipt,
        *,
        created: bool,
    ) -> None:
        """Commit with the agents' own script; remove a part that came too late, as they do."""
        keys = [
            self.fleet.stream,
            self._keys.fence(name),
            self.fleet.result_stream,
            self._keys.rows,
        ]
        planned = receipt.rows + sum(one.rows for one in rest) - held.of.rows
        args: list[Any] = [self.fleet.group, name, self.fleet.longest_results, entry, done.id]
        args += [receipt.dumps(), receipt.done, receipt.failed, planned]
        args += _words(rest, divided=held.divided)
        ours, said = self._scripts.call("commit_range", keys, args)
        if ours:
            agent.done += receipt.done
            agent.acked_at = self.server.settled[name.encode()] = utcnow()
        elif said and created and Receipt.loads(said).part != receipt.part:
            sink = stores.place(done.sink)
            sink.at(receipt.part).delete()
            if receipt.errors:
                sink.at(receipt.errors).delete()

    def _take(self, name: str, agent: Running) -> None:
        me, now = name.encode(), utcnow()
        self.server.asked[me] = now
        free = RANGES_AT_ONCE - len(agent.in_hand)
        if free <= 0:
            return
        try:
            stream, group = self.fleet.stream, self.fleet.group
            entries = self._released(name, agent, free)
            if not entries:
                got: Any = self._redis.xreadgroup(group, name, {stream: ">"}, count=free)
                entries = [entry for _, rows in got for entry, _ in rows] if got else []
            if not entries:
                entries = self._claim(me, agent, free)
            taken = [entry for entry in entries if self._begin(name, agent, entry)]
        except RedisError:
            return
        if taken:
            agent.in_hand += taken
            agent.taken_at = agent.taken_at or now
            self.server.settled[me] = now

    def _released(self, name: str, agent: Running, count: int) -> list[bytes]:
        stream, group = self.fleet.stream, self.fleet.group
        found = self._redis.xpending_range(
            stream, group, "-", "+", count, consumername=RELEASED_CONSUMER
        )
        ids: list[Any] = [r["message_id"] for r in found if r["message_id"] not in agent.in_hand]
        if not ids:
            return []
        taken: Any = self._redis.xclaim(stream, group, name, 0, ids, justid=True)
        return list(taken)

    def _begin(self, name: str, agent: Running, entry: bytes) -> bool:
        """Count the try, and take the range in hand. False: it was divided, or is gone."""
        stream, group = self.fleet.stream, self.fleet.group
        found: Any = self._redis.xrange(stream, entry, entry)
        pending = self._redis.xpending_range(stream, group, entry, entry, 1)
        if not found or not pending or entry in agent.held:
            return False
        deliveries, fields = int(pending[0]["times_delivered"]) + 1, found[0][1]
        self._call("begin", name, [entry, deliveries])
        of, divided = Range.parse(fields), DIVIDED.encode() in fields
        if deliveries > (PIECE_TRIES if divided else TRIES) + 1 and of.rows > 1:
            pieces = pieces_of(of)
            args = [self.fleet.group, name, entry, MOST_DIVISIONS, 0, *_words(pieces, divided=True)]
            keys = [stream, self._keys.fence(name), self._keys.rows]
            self._draws.record(f"{of.id} is divided")
            return self._scripts.call("divide", keys, args) < 0 and self._hold(agent, entry, of)
        return self._hold(agent, entry, of, divided=divided)

    def _hold(self, agent: Running, entry: bytes, of: Range, *, divided: bool = False) -> bool:
        agent.held[entry] = _Held(of, divided)
        return True

    def _call(self, script: str, name: str, args: Sequence[Any]) -> Any:
        keys = [self.fleet.stream, self._keys.fence(name)]
        return self._scripts.call(script, keys, [self.fleet.group, name, *args])

    # What must be true.

    def check(self) -> None:
        """Check counts and coverage after a step.

        Raises:
            Violated: a row is lost or doubled, or a count is wrong (S9, S17).
        """
        dataset = Dataset.objects.filter(fleet=self.fleet).first()
        if dataset is None:
            return
        standing = feeding.stream_of(self.fleet).look()
        self._check_counts(standing)
        self._check_finish(dataset)
        if not self._to_feed:
            self._check_rows(dataset, standing)

    def _check_counts(self, standing: Standing) -> None:
        """Check that the depth in rows is what is on the stream, and that no range is there twice."""
        queued = [standing.waiting, standing.pending]
        rows, counts = sum(sum(some.values()) for some in queued), standing.counts
        if counts.planned is not None and counts.left != rows:
            raise Violated(f"S9: {counts} say {counts.left} rows of {self.fleet}, {rows} are left")
        for spans in standing.by_file().values():
            for n, span in enumerate(spans):
                if overlap(span, spans[:n]):
                    raise Violated(f"S17: rows {span} of {self.fleet} are in two ranges")

    def _check_rows(self, dataset: Dataset, standing: Standing) -> None:
        """Check that each row of each file is in a range or in a part."""
        spans = standing.by_file()
        for found in stores.place(dataset.sink).list():
            if part := PartName.parse(found.name):
                spans.setdefault(part.file, []).append(bounds(part.start, part.end))
        for file in dataset.files.all():
            if gaps := missing((0, file.rows), spans.get(file.key, ())):
                raise Violated(f"S17: rows {gaps} of {file.url} are nowhere")

    def _check_finish(self, dataset: Dataset) -> None:
        """Check that a version is finished once, and only where nothing is left."""
        if dataset.finished_at is None:
            return
        if self._finished.setdefault(dataset.version, dataset.finished_at) != dataset.finished_at:
            raise Violated(f"S17: {dataset} was finished twice at version {dataset.version}")

    @property
    def finished(self) -> bool:
        """Whether the dataset is finished, as the manager says."""
        return (
            not self._files
            or Dataset.objects.filter(fleet=self.fleet, finished_at__isnull=False).exists()
        )

    def check_end(self) -> None:
        """Check from the files that each row is in the sink once.

        Raises:
            Violated: it is not, or the manager's own proof says so.
        """
        if not self._files:
            return
        dataset = Dataset.objects.get(fleet=self.fleet)
        proof = verifying.verify(dataset, deep=True)
        if proof.wrong or not proof.complete:
            raise Violated(f"S17: {proof}")
        sink, ids = stores.place(dataset.sink), list[str]()
        names = [found.name for found in sink.list()]
        for name in names:
            if PartName.parse(name.removeprefix(f"{ERRORS_FOLDER}/")):
                table = pq.read_table(pa.BufferReader(sink.at(name).get()))
                ids += table.column("id").to_pylist()
        wanted = [f"{file}-{n}" for file, rows in self._files.items() for n in range(rows)]
        if sorted(ids) != sorted(wanted) or SUCCESS not in names:
            raise Violated(f"S17: {len(ids)} rows of {len(wanted)} are in the sink of {self.fleet}")


def _words(ranges: Sequence[Range], *, divided: bool) -> list[Any]:
    words: list[Any] = []
    for one in ranges:
        flat = [part for pair in one.entry(divided=divided).items() for part in pair]
        words += [len(flat), *flat]
    return words


def _parquet(ids: Sequence[str]) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array(ids, pa.string())}), made)
    return made.getvalue()
