"""The demo: one run of a real dataset through local pods. A killed run continues."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow.parquet as pq
import redis
from django.conf import settings
from django.db.models import Max

from config import demo_texts, stack
from fleet import operating
from fleet.datasets import feeding, ids, sinks, verifying
from fleet.datasets.feeding import Plan, Request, Told
from fleet.datasets.standing import FEEDER, rows_key
from fleet.decision.values import Mode
from fleet.models import Dataset, Fleet, Tick
from fleet.money import spending
from fleet.tasks import finish_dataset
from pods.agent.dataset import stores
from pods.agent.protocol import ENV_PREFIX, dead_stream, result_stream
from pods.agent.ranges import PartName
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.models import Account, Pod

NAME: Final = "demo"
STREAM: Final = "demo_ranges"
MAX_INSTANCES: Final = 3
# The price of a cheap rented GPU pod. A process of this machine costs nothing.
NOMINAL_HOURLY_USD: Final = "0.34"
# Rows/s of each pod. Without this limit one pod embeds everything before a second one has
# booted, and there is no fleet to watch.
PACE: Final = 60
# Four seconds of work for a pod: the last range does not keep the others waiting for long.
ROWS_PER_RANGE: Final = 250
# A range that failed for good keeps a dataset open.
FINISH_SECONDS: Final = 60.0
FLEET: Final[Mapping[str, Any]] = {
    "backlog": "dataset",
    "stream": STREAM,
    "group": STREAM,
    "handler": "pods.agent.handlers.wordllama:embed",
    "handler_env": {"PACE_RATE": str(PACE)},
    "max_instances": MAX_INSTANCES,
    "target_depth_per_pod": 1000,
    "idle_seconds": 3,
    "drain_seconds": 15,
    "heartbeat_seconds": 0.5,
    "silent_seconds": 10,
    "claim_idle_seconds": 5,
    "handler_timeout_seconds": 60,
    "boot_seconds": 60,
    "orphan_seconds": 60,
    "batch_size": 16,
}


class StreamInUse(Exception):
    """The demo's stream holds what is not the demo's."""


class NotFinished(Exception):
    """The run is not complete; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. A file keeps it from its start until its parts are verified."""

    number: int
    began: str  # ISO time
    texts_ready: bool = False
    resumed: bool = False

    def save(self) -> None:
        """Write the run's file, whole or not at all."""
        draft = folder() / "run.draft"
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(folder() / "run.json")


def folder() -> Path:
    """Where the demo keeps its state."""
    path: Path = settings.VAR_DIR / "demo"
    path.mkdir(parents=True, exist_ok=True)
    return path


def texts_folder() -> Path:
    """Where the texts of the present run are: the input of the dataset."""
    return folder() / "texts"


def vectors_folder() -> Path:
    """Where the parts are: the sink. They stay there until the next run begins."""
    return folder() / "vectors"


def client() -> redis.Redis:
    """The Redis of the demo."""
    return redis_client(settings.REDIS_URL)


def begin() -> Run:
    """The run that a killed demo left, else a new run, without what the last one left.

    Raises:
        StreamInUse: the stream belongs to another fleet; the message says what to do.
    """
    try:
        values = json.loads((folder() / "run.json").read_text())
        return Run(**{**values, "resumed": True})
    except (FileNotFoundError, ValueError, TypeError):
        pass
    _refuse_foreign_stream()
    last = folder() / "last-run"
    number = int(last.read_text()) + 1 if last.exists() else 1
    _forget_last_run()
    last.write_text(str(number))
    run = Run(number=number, began=utcnow().isoformat())
    run.save()
    return run


def _forget_last_run() -> None:
    """Remove texts and parts, and what is known of them. Before the new run's file: it is repeated."""
    Dataset.objects.filter(fleet__name=NAME).delete()
    keys = [STREAM, result_stream(STREAM), dead_stream(STREAM), rows_key(NAME), FEEDER + STREAM]
    client().unlink(*keys)
    for old in (texts_folder(), vectors_folder()):
        shutil.rmtree(old, ignore_errors=True)


def _refuse_foreign_stream() -> None:
    other = Fleet.objects.filter(stream=STREAM).exclude(name=NAME).first()
    if other is not None:
        raise StreamInUse(
            f"the stream {STREAM} belongs to the fleet {other.name}; the demo does not use it"
        )
    known = Fleet.objects.filter(name=NAME).exists()
    if not known and client().exists(STREAM):
        raise StreamInUse(
            f"the stream {STREAM} on this Redis is not the demo's; unset REDIS_URL, or delete it"
        )


def write_texts(run: Run, texts: Path | None, progress: Callable[[int, int], None]) -> Run:
    """Write the run's texts into its folder: the user's files, else the library's docstrings."""
    if run.texts_ready:
        return run
    into = texts_folder()
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    if texts is None:
        demo_texts.write_docstrings(into, progress=progress)
    else:
        files = demo_texts.users_files(texts)
        for done, file in enumerate(files, start=1):
            copy = into / file.relative_to(texts)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            progress(done, len(files))
    ready = replace(run, texts_ready=True)
    ready.save()
    return ready


def feed(fleet: Fleet, told: Callable[[int, int], None]) -> Plan:
    """Add the ranges that are missing, as `fleet feed` does.

    Raises:
        BadDataset: the texts cannot be read; the message says why.
    """
    request = Request(
        urls=[f"{texts_folder().as_uri()}/"],
        sink=f"{vectors_folder().as_uri()}/",
        rows_per_range=ROWS_PER_RANGE,
    )
    return feeding.feed(fleet, request, told=Told(ranges=told))


def ensure_fleet() -> Fleet:
    """The demo's fleet, created or set back to the demo's values."""
    account, _ = Account.objects.update_or_create(
        name=NAME,
        defaults={"provider": "local", "options": {"hourly_usd": NOMINAL_HOURLY_USD}},
    )
    fleet = Fleet.objects.filter(name=NAME).first()
    if fleet is None:
        return operating.create_fleet(
            NAME, accounts=[account.name], tick=timedelta(seconds=2), by="demo", **FLEET
        )
    operating.edit(fleet, {**FLEET, "mode": Mode.RUNNING.value}, by="demo")
    operating.prepare(fleet)
    return fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The result of a run."""

    rows_in: int
    rows_out: int
    errors: int
    duplicates: int  # further rows in the parts with the same id
    missing: int
    wrong: list[str]  # what `fleet verify` found
    embedding_dim: int
    parts: int
    complete: bool  # the sink has its manifest and _SUCCESS
    rows_per_second: float | None  # from the first ready pod on
    pods_peak: int
    pods_left: int
    pods: int
    seconds: float
    decisions: int
    spent_usd: str
    sink: str
    resumed: bool

    @property
    def whole(self) -> bool:
        """Each row is in the sink once, as a result or as an error."""
        return self.complete and not (self.missing or self.duplicates or self.wrong)

    @property
    def ok(self) -> bool:
        """Each row has a result, and nothing leaked."""
        return self.whole and not self.errors and not self.pods_left


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the live view saw."""

    peak: int  # ready pods
    rows_per_second: float | None


class Pace:
    """Hears what each look saw, and says how fast the rows were done."""

    def __init__(self) -> None:
        self._peak = 0
        self._first: tuple[float, int] | None = None  # when a pod was ready, and the rows left then
        self._last: float | None = None  # when no row was left

    def saw(self, ready: int, left: int | None, *, now: float) -> None:
        """One look, at `now` seconds."""
        self._peak = max(self._peak, ready)
        if self._first is None and ready and left:
            self._first = now, left
        if self._last is None and left == 0:
            self._last = now

    def watched(self) -> Watched:
        """The peak, and the rows a second from the first ready pod to the last row."""
        if self._first is None or self._last is None or self._last <= self._first[0]:
            return Watched(peak=self._peak, rows_per_second=None)
        since, rows = self._first
        return Watched(peak=self._peak, rows_per_second=round(rows / (self._last - since), 1))


def finish(fleet: Fleet) -> Dataset:
    """Let a worker finish the dataset now; by itself the manager looks once a minute.

    Raises:
        NotFinished: rows are missing.
    """
    dataset = Dataset.objects.get(fleet=fleet)
    finish_dataset.delay(dataset.pk)

    def open_() -> bool:
        dataset.refresh_from_db()
        return dataset.finished_at is None

    if not stack.wait_while(open_, seconds=FINISH_SECONDS, step=0.2):
        raise NotFinished(f"rows have no part: {dataset.note}")
    return dataset


def leaked() -> int:
    """How many agents of the demo still run."""
    count = 0
    for process in psutil.process_iter():
        try:
            count += process.environ().get(f"{ENV_PREFIX}FLEET") == NAME
        except (psutil.Error, OSError):
            continue
    return count


def summarise(run: Run, fleet: Fleet, watched: Watched) -> Summary:
    """Verify the sink, and count from its files and the rows of the database.

    Raises:
        NotFinished: rows are missing.
    """
    dataset = finish(fleet)
    proof = verifying.verify(dataset, deep=True)
    wanted, found = _ids_in(dataset), _ids_out(dataset)
    began = datetime.fromisoformat(run.began)
    spent = spending.spent(utcnow(), fleet_id=fleet.pk).total
    ticks = Tick.objects.filter(fleet=fleet, at__gte=began)
    return Summary(
        rows_in=wanted.total(),
        rows_out=proof.done,
        errors=proof.failed,
        duplicates=(found - wanted).total(),
        missing=(wanted - found).total(),
        wrong=proof.wrong,
        embedding_dim=_dimensions(),
        parts=proof.parts,
        complete=proof.complete,
        rows_per_second=watched.rows_per_second,
        pods_peak=max(watched.peak, ticks.aggregate(top=Max("ready"))["top"] or 0),
        pods_left=leaked(),
        pods=Pod.objects.filter(fleet=fleet, requested_at__gte=began).count(),
        seconds=round((utcnow() - began).total_seconds(), 1),
        decisions=ticks.count(),
        spent_usd=str(spent.quantize(Decimal("0.0001"))),
        sink=str(vectors_folder()),
        resumed=run.resumed,
    )


def _ids_in(dataset: Dataset) -> Counter[str]:
    """How many input rows have each id."""
    found: Counter[str] = Counter()
    for file in dataset.files.all():
        found.update(ids.of_input(file, PartName(file.key, 0, None)))
    return found


def _ids_out(dataset: Dataset) -> Counter[str]:
    """How many rows of the parts and of the errors files have each id."""
    found: Counter[str] = Counter()
    there, sink = sinks.contents(dataset.sink), stores.place(dataset.sink)
    for file in there.parts.values():
        found.update(ids.of_file(sink.at(str(file.part)), file.part.format))
        if file.part.errors_name:
            found.update(ids.of_file(sink.at(file.part.errors_name), file.part.format))
    return found


def _dimensions() -> int:
    """How long the vectors are, as the parts say; 0: there is none."""
    for part in vectors_folder().glob("part-*.parquet"):
        schema = pq.read_schema(part)
        if "embedding" in schema.names:
            return int(schema.field("embedding").type.list_size)
    return 0


def end() -> None:
    """The run is over. Its texts and parts stay until the next one begins."""
    (folder() / "run.json").unlink(missing_ok=True)


def story(fleet: Fleet, run: Run, limit: int = 8) -> list[str]:
    """The sentences of the decisions that started or retired a pod."""
    began = datetime.fromisoformat(run.began)
    acted = Tick.objects.filter(fleet=fleet, at__gte=began).exclude(spawned=0, retired=0)
    return [
        f"{(t.at - began).total_seconds():5.0f} s  {t.sentence}"
        for t in acted.order_by("at")[:limit]
    ]
