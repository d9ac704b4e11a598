"""The rows of a dataset, as a tick asks for them and remembers them."""

from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from redis import RedisError

from fleet.backlog.base import Depth, RowCounts
from fleet.datasets.receipts import MOST_READ, newest
from fleet.datasets.standing import rows_key
from fleet.decision.guardrails import FIRST_ROWS, tolerated_failure_percent
from fleet.decision.values import Policy, RowsFailed, Snapshot
from fleet.models import Dataset, Fleet
from pods.base.redis import redis_client

ERRORS_SHOWN: Final = 3
LONGEST_ERROR: Final = 150  # characters; an alert has 600
LONGEST_TEXT: Final = 600


def of_dataset(fleet: Fleet) -> dict[str, Any]:
    """Where the rows of a dataset are counted, and whether ranges of it must be somewhere."""
    if not fleet.is_dataset:
        return {}
    fed = fleet.pk and Dataset.objects.filter(fleet=fleet, finished_at=None).exists()
    return {"rows": rows_key(fleet.name), "fed": bool(fed)}


def of_the_backlog(fleet: Fleet, depth: Depth | None) -> dict[str, Any]:
    """What a snapshot has of the backlog."""
    if depth is None:
        return {"depth": None}
    return {
        "depth": depth.items,
        "pending": depth.pending,
        "depth_estimated": depth.estimated,
        "ranges": depth.ranges,
        "rows_failed": None if depth.rows is None else _failed(fleet, depth.rows),
    }


def remember_rows(fleet: Fleet, depth: Depth | None, seen: Snapshot, policy: Policy) -> None:
    """Note the counts of rows of a dataset, if they are known, for the alerts and the pages."""
    if depth is None or depth.rows is None:
        return
    rows = depth.rows
    dataset = Dataset.objects.filter(fleet=fleet).first()
    if dataset is None:
        return
    held = tolerated_failure_percent(seen, policy, ())
    begin = _Begin.of(fleet, dataset, rows)
    Dataset.objects.filter(pk=dataset.pk, finished_at=None).update(
        rows_planned=rows.planned,
        rows_done=rows.done,
        rows_failed=rows.failed,
        rows_dead=rows.dead,
        ranges_left=depth.ranges or 0,
        rows_fail="" if held is None else held.because[:LONGEST_TEXT],
        counted_from=fleet.try_again_at if begin.anew else dataset.counted_from,
        counted_from_rows=begin.rows,
        counted_from_failed=begin.failed,
    )


@dataclass(frozen=True, slots=True)
class _Begin:
    """The counts from which failed rows count."""

    rows: int
    failed: int
    anew: bool = False

    @classmethod
    def of(cls, fleet: Fleet, dataset: Dataset, now: RowCounts) -> "_Begin":
        """From an operator's last wish to try again; counts that fell began anew with their Redis."""
        asked, since = fleet.try_again_at, dataset.counted_from
        finished = now.done + now.failed
        if asked is not None and (since is None or since < asked):
            return cls(finished, now.failed, anew=True)
        if dataset.counted_from_rows > finished or dataset.counted_from_failed > now.failed:
            return cls(0, 0)
        return cls(dataset.counted_from_rows, dataset.counted_from_failed)


def _failed(fleet: Fleet, now: RowCounts) -> RowsFailed | None:
    """How many rows failed; with errors, if they may be too many."""
    dataset = Dataset.objects.filter(fleet=fleet).first()
    if dataset is None or dataset.finished_at is not None:
        return None
    begin = _Begin.of(fleet, dataset, now)
    rows, failed = now.done + now.failed - begin.rows, now.failed - begin.failed
    some = rows >= FIRST_ROWS and failed * 100 > fleet.tolerated_failure_percent * rows
    return RowsFailed(failed=failed, rows=rows, because=_errors(fleet) if some else "")


def _errors(fleet: Fleet) -> str:
    """Three errors of the newest receipts that have some."""
    client = redis_client(fleet.backlog_url or settings.REDIS_URL)
    try:
        found = newest(client, fleet.result_stream, MOST_READ)
        samples = (sample for _, receipt in found for sample in receipt.samples)
        errors: dict[str, None] = {}
        while len(errors) < ERRORS_SHOWN and (error := next(samples, None)) is not None:
            errors.setdefault(error[:LONGEST_ERROR])
    except (RedisError, ValueError):
        return ""
    return "; ".join(errors)
