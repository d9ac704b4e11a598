"""The demo: one run of a real backlog through local pods. A killed run continues."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

import psutil
import redis
from django.conf import settings
from django.db.models import Max

from config import demo_texts
from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Fleet, Tick
from fleet.money import spending
from pods.agent.protocol import (
    ENV_PREFIX,
    RESULT_ID,
    RESULT_VALUE,
    dead_stream,
    result_stream,
)
from pods.base.clock import utcnow
from pods.base.redis import StreamEntry, redis_client, stream_page
from pods.models import Account, Pod

NAME: Final = "demo"
STREAM: Final = "embedding_tasks"
RESULTS: Final = result_stream(STREAM)
DEAD: Final = dead_stream(STREAM)
MAX_INSTANCES: Final = 3
# The price of a cheap rented GPU pod. A process of this machine costs nothing.
NOMINAL_HOURLY_USD: Final = "0.34"
# Items/s of each pod. Without this limit one pod embeds everything before a second one has
# booted, and there is no fleet to watch.
PACE: Final = 60
FLEET: Final[Mapping[str, Any]] = {
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
PAGE: Final = 2000


class StreamInUse(Exception):
    """The demo's stream holds items that are not the demo's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. A file keeps it from its start until its result is verified."""

    number: int
    began: str  # ISO time
    results_after: str  # the last result's id before it
    dead_before: int
    texts_ready: bool = False
    total: int = 0  # items
    resumed: bool = False

    @property
    def folder(self) -> Path:
        """Where the texts of this run are."""
        return folder() / f"run-{self.number}"

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


def client() -> redis.Redis:
    """The Redis of the demo."""
    return redis_client(settings.REDIS_URL)


def begin() -> Run:
    """The run that a killed demo left, else a new run.

    Raises:
        StreamInUse: the stream belongs to another fleet; the message says what to do.
    """
    try:
        values = json.loads((folder() / "run.json").read_text())
        return Run(**{**values, "resumed": True})
    except (FileNotFoundError, ValueError, TypeError):
        pass
    _refuse_foreign_stream()
    last = cast("list[StreamEntry]", client().xrevrange(RESULTS, count=1))
    number = int((folder() / "last-run").read_text()) if (folder() / "last-run").exists() else 0
    (folder() / "last-run").write_text(str(number + 1))
    run = Run(
        number=number + 1,
        began=utcnow().isoformat(),
        results_after=last[0][0].decode() if last else "0-0",
        dead_before=client().xlen(DEAD),
    )
    run.save()
    return run


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
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True)
    if texts is None:
        demo_texts.write_docstrings(run.folder / "docstrings.jsonl", progress=progress)
    else:
        files = demo_texts.users_files(texts)
        for done, file in enumerate(files, start=1):
            copy = run.folder / file.relative_to(texts)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            progress(done, len(files))
    ready = Run(**{**asdict(run), "texts_ready": True})
    ready.save()
    return ready


def sources(run: Run) -> list[Path]:
    """The files of a run, in a fixed order."""
    return demo_texts.users_files(run.folder)


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

    items: int
    results: int  # items with a result, each counted once
    duplicates: int  # further results of the same items
    missing: int
    dead: int
    embedding_dim: int
    pods_peak: int
    pods_leaked: int
    pods: int
    seconds: float
    decisions: int
    spent_usd: str
    resumed: bool

    @property
    def ok(self) -> bool:
        """Nothing was lost and nothing leaked."""
        return not self.missing and not self.dead and not self.pods_leaked


def results(run: Run) -> Iterator[tuple[str, bytes]]:
    """The id and the value of each result since the run began."""
    after = run.results_after
    while page := stream_page(client(), RESULTS, after=after, count=PAGE):
        for _entry, fields in page:
            yield fields[RESULT_ID.encode()].decode(), fields[RESULT_VALUE.encode()]
        after = page[-1][0].decode()


def leaked() -> int:
    """How many agents of the demo still run."""
    count = 0
    for process in psutil.process_iter():
        try:
            count += process.environ().get(f"{ENV_PREFIX}FLEET") == NAME
        except (psutil.Error, OSError):
            continue
    return count


def summarise(run: Run, fleet: Fleet, peak: int) -> Summary:
    """Count the results of the run from the streams and the rows."""
    seen: Counter[str] = Counter()
    dim = 0
    for item, value in results(run):
        seen[item] += 1
        dim = dim or len(json.loads(value)["embedding"])
    began = datetime.fromisoformat(run.began)
    pods = Pod.objects.filter(fleet=fleet, requested_at__gte=began)
    spent = spending.spent(utcnow(), fleet_id=fleet.pk).total
    top = Tick.objects.filter(fleet=fleet, at__gte=began).aggregate(top=Max("ready"))["top"] or 0
    return Summary(
        items=run.total,
        results=len(seen),
        duplicates=sum(seen.values()) - len(seen),
        missing=run.total - len(seen),
        dead=client().xlen(DEAD) - run.dead_before,
        embedding_dim=dim,
        pods_peak=max(peak, top),
        pods_leaked=leaked(),
        pods=pods.count(),
        seconds=round((utcnow() - began).total_seconds(), 1),
        decisions=Tick.objects.filter(fleet=fleet, at__gte=began).count(),
        spent_usd=str(spent.quantize(Decimal("0.0001"))),
        resumed=run.resumed,
    )


def end(run: Run) -> None:
    """Delete the state of a verified run, and what it left on the streams."""
    (folder() / "run.json").unlink(missing_ok=True)
    shutil.rmtree(run.folder, ignore_errors=True)
    client().xtrim(STREAM, maxlen=0, approximate=False)
    client().xtrim(RESULTS, maxlen=0, approximate=False)


def story(fleet: Fleet, run: Run, limit: int = 8) -> list[str]:
    """The sentences of the decisions that started or retired a pod."""
    began = datetime.fromisoformat(run.began)
    acted = Tick.objects.filter(fleet=fleet, at__gte=began).exclude(spawned=0, retired=0)
    return [
        f"{(t.at - began).total_seconds():5.0f} s  {t.sentence}"
        for t in acted.order_by("at")[:limit]
    ]
