"""What the page of a fleet's dataset shows: its rows, its newest parts, and why rows failed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import redis
from django.conf import settings
from django.db.models import Sum
from redis import RedisError

from fleet.datasets import receipts
from fleet.items.failures import key_of
from fleet.models import Dataset, Fleet
from fleet.pages.failed_items import unanswered
from pods.agent.ranges import Receipt
from pods.base.redis import redis_client

FAILED_READ: Final = 200  # receipts with errors
PARTS_SHOWN: Final = 10
REASONS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PartShown:
    """One finished range."""

    name: str
    range: str  # the name of its input file, and the bounds
    at: datetime
    done: int
    failed: int
    size: int  # bytes
    took: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Errors that are alike."""

    example: str
    rows: int  # of the samples in the receipts that were read


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetShown:
    """A dataset as its page shows it."""

    dataset: Dataset
    files: int
    rows: int  # of all files, as they were planned
    parts: Sequence[PartShown] = ()
    reasons: Sequence[Reason] = ()
    read: int = 0  # receipts
    problem: str = ""  # why the receipts are not known

    @property
    def finished(self) -> int:
        """Rows that are done or failed."""
        return self.dataset.rows_done + self.dataset.rows_failed

    @property
    def total(self) -> int:
        """All rows, as the counts know them; as the files had them where these were lost."""
        return max(self.dataset.rows_planned, self.rows, 1)

    @property
    def percent(self) -> int:
        """How much is finished; 100 only where all of it is."""
        return min(100, 100 * self.finished // self.total)

    @property
    def failed_percent(self) -> Decimal | None:
        """The share of the finished rows that failed; None: none is finished."""
        if not self.finished:
            return None
        return Decimal(100 * self.dataset.rows_failed) / self.finished


def shown(fleet: Fleet) -> DatasetShown | None:
    """The dataset of a fleet; None: it was never fed. Two queries, and one question to its Redis."""
    dataset = Dataset.objects.filter(fleet=fleet).first()
    if dataset is None:
        return None
    planned = dataset.files.aggregate(rows=Sum("rows"))
    known = DatasetShown(dataset=dataset, files=dataset.files.count(), rows=planned["rows"] or 0)
    try:
        client = redis_client(fleet.backlog_url or settings.REDIS_URL)
        found = _read(client, fleet.result_stream, failed=bool(dataset.rows_failed))
    except (RedisError, ValueError) as exc:
        problem = unanswered(exc)
        return DatasetShown(dataset=dataset, files=known.files, rows=known.rows, problem=problem)
    return DatasetShown(
        dataset=dataset,
        files=known.files,
        rows=known.rows,
        parts=[_part(entry, one) for entry, one in found[:PARTS_SHOWN]],
        reasons=_reasons([one for _, one in found]),
        read=len(found),
    )


def _read(client: "redis.Redis", results: str, *, failed: bool) -> list[tuple[str, Receipt]]:
    """The newest receipts: enough to show why rows failed, if some did. Raises as `newest`."""
    most = receipts.MOST_READ if failed else PARTS_SHOWN
    found: list[tuple[str, Receipt]] = []
    with_errors = 0
    for entry, receipt in receipts.newest(client, results, most):
        found.append((entry, receipt))
        with_errors += bool(receipt.samples)
        if with_errors >= FAILED_READ:
            break
    return found


def _part(entry: str, receipt: Receipt) -> PartShown:
    end = "end" if receipt.end is None else f"{receipt.end:,}"
    return PartShown(
        name=receipt.part,
        range=f"{receipt.source.rpartition('/')[2]} {receipt.start:,}–{end}",
        at=datetime.fromtimestamp(int(entry.partition("-")[0]) / 1000, UTC),
        done=receipt.done,
        failed=receipt.failed,
        size=receipt.part_bytes,
        took=timedelta(seconds=receipt.seconds),
    )


def _reasons(found: Sequence[Receipt]) -> Sequence[Reason]:
    """The samples of the receipts, by what is alike in them: the most frequent first."""
    examples: dict[str, str] = {}
    rows: Counter[str] = Counter()
    for receipt in found:
        for sample in receipt.samples:
            key = key_of(sample)
            examples.setdefault(key, sample)
            rows[key] += 1
    return [Reason(example=examples[key], rows=n) for key, n in rows.most_common(REASONS_SHOWN)]
