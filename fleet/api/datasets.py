"""Datasets: how far the rows of files are."""

from typing import Any, Final

from django.db.models import Count, QuerySet
from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet.api import paging
from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.paging import Asked, Page
from fleet.api.problems import Problem
from fleet.api.values import Moment
from fleet.models import Dataset
from fleet.pages import dataset as dataset_page
from pods import masking

router: Final = Router(tags=["datasets"])


class DatasetOut(BaseModel):
    """The dataset of a fleet, as its last tick counted it."""

    fleet: str
    sink: str
    part_format: str
    files: int
    rows_planned: int
    rows_done: int
    rows_failed: int
    rows_dead: int = Field(description="In ranges that are dead letters.")
    rows_fail: str = Field(
        description="More rows fail than the fleet tolerates; empty: they do not."
    )
    ranges_left: int
    fed_at: Moment
    finished_at: Moment | None
    note: str = Field(description="Why it is not finished.")


class PartOut(BaseModel):
    """A finished range."""

    name: str
    range: str
    at: Moment
    done: int
    failed: int
    bytes: int
    seconds: float


class ReasonOut(BaseModel):
    """Errors that are alike."""

    example: str
    rows: int


class DatasetDetail(DatasetOut):
    """A dataset with its newest parts, and why rows failed."""

    percent: int
    parts: list[PartOut]
    reasons: list[ReasonOut]
    problem: str = Field(description="Why parts and reasons are not known; empty: they are.")


class DatasetPage(Page):
    """Datasets, those fed for the first time last first."""

    items: list[DatasetOut]


def _of(row: Any, files: int) -> dict[str, Any]:
    own = {n: getattr(row, n) for n in DatasetOut.model_fields if n not in {"fleet", "files"}}
    sink = masking.without_passwords(row.sink)
    return {**own, "fleet": row.fleet.name, "files": files, "sink": sink}


@router.get("/datasets", response=DatasetPage, **needs("fleet.view_fleet"))
def list_datasets(request: HttpRequest, asked: Query[Asked]) -> DatasetPage:
    """List datasets."""
    rows: QuerySet[Any] = Dataset.objects.select_related("fleet").annotate(
        file_count=Count("files")
    )
    found, more = paging.by_id(rows, asked)
    items = [DatasetOut(**_of(row, row.file_count)) for row in found]
    return DatasetPage(items=items, next=more)


@router.get("/fleets/{name}/dataset", response=DatasetDetail, **needs("fleet.view_fleet"))
def read_dataset(request: HttpRequest, name: str) -> DatasetDetail:
    """Read the dataset of a fleet, with its newest parts."""
    shown = dataset_page.shown(fleet_called(name))
    if shown is None:
        raise Problem(404, "this fleet has no dataset; `fleet feed` makes one")
    return DatasetDetail(
        **_of(shown.dataset, shown.files),
        percent=shown.percent,
        parts=[
            PartOut(
                name=p.name, range=p.range, at=p.at, done=p.done, failed=p.failed, bytes=p.size,
                seconds=p.took.total_seconds(),
            )
            for p in shown.parts
        ],
        reasons=[ReasonOut(example=r.example, rows=r.rows) for r in shown.reasons],
        problem=shown.problem,
    )  # fmt: skip
