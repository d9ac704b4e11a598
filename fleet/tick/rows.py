"""The rows of a dataset, as a tick asks for them and remembers them."""

from typing import Any

from fleet.backlog.base import Depth
from fleet.datasets.standing import rows_key
from fleet.models import Dataset, Fleet


def of_dataset(fleet: Fleet) -> dict[str, Any]:
    """Where the rows of a dataset are counted, and whether ranges of it must be somewhere."""
    if not fleet.is_dataset:
        return {}
    fed = fleet.pk and Dataset.objects.filter(fleet=fleet, finished_at=None).exists()
    return {"rows": rows_key(fleet.name), "fed": bool(fed)}


def remember_rows(fleet: Fleet, depth: Depth | None) -> None:
    """Note the counts of rows of a dataset, if they are known, for the alerts and the pages."""
    if depth is None or depth.rows is None:
        return
    rows = depth.rows
    Dataset.objects.filter(fleet=fleet, finished_at=None).update(
        rows_planned=rows.planned,
        rows_done=rows.done,
        rows_failed=rows.failed,
        rows_dead=rows.dead,
        ranges_left=depth.ranges or 0,
    )
