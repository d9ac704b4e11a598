"""Batches as the OpenAI API has them: create, list, show, cancel."""

from datetime import timedelta
from typing import Annotated, Any, Final

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, ConfigDict, Field

from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.openai_files import Key, file_called, kept_for, page
from fleet.api.problems import Problem
from fleet.batches import advancing, creating
from fleet.models import Batch, BatchFile, BatchStatus, Fleet
from fleet.models.batches import LONGEST_KEY

router: Final = Router(tags=["batches"])
MOST_PAIRS: Final = 16
# The time at which a batch ended is shown under the word for its end.
ENDS: Final = {
    BatchStatus.COMPLETED: "completed_at",
    BatchStatus.FAILED: "failed_at",
    BatchStatus.EXPIRED: "expired_at",
    BatchStatus.CANCELLED: "cancelled_at",
}
Name = Annotated[str, Field(max_length=64)]
Value = Annotated[str, Field(max_length=512)]


class Expires(BaseModel):
    """For how long the files of a batch are kept."""

    anchor: str
    seconds: int


class BatchCreate(BaseModel):
    """A batch to make; words that are not known here are left alone, as clients send new ones."""

    model_config = ConfigDict(extra="ignore")

    input_file_id: Key
    endpoint: str = Field(max_length=40)
    completion_window: str = Field(max_length=10)
    metadata: dict[Name, Value] | None = Field(None, max_length=MOST_PAIRS)
    output_expires_after: Expires | None = None


class WhichBatches(BaseModel):
    """Which batches."""

    limit: int = Field(20, ge=1, le=100)
    after: Key = ""


def shown(batch: Batch) -> dict[str, Any]:
    """The batch as the API shows it."""
    ended = ENDS.get(BatchStatus(batch.status))
    times = dict.fromkeys(ENDS.values())
    times |= {ended: batch.ended_at} if ended else {}
    times |= {
        name: getattr(batch, name)
        for name in ("created_at", "in_progress_at", "expires_at", "finalizing_at", "cancelling_at")
    }
    over = batch.ended_at is not None
    return {
        "id": batch.key,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_key,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": _key(batch.output_file) if over else None,
        "error_file_id": _key(batch.error_file) if over else None,
        **{name: int(at.timestamp()) if at else None for name, at in times.items()},
        "request_counts": {
            "total": batch.total, "completed": batch.completed, "failed": batch.failed
        },
        "metadata": batch.metadata,
    }  # fmt: skip


def _key(file: BatchFile | None) -> str | None:
    return None if file is None else file.key


def _rows(fleet: Fleet) -> Any:
    rows = Batch.objects.filter(fleet=fleet).defer("settled")
    return rows.select_related("output_file", "error_file")


def _batch_called(fleet: Fleet, key: str) -> Batch:
    known = key.isascii() and len(key) <= LONGEST_KEY and "\0" not in key
    batch: Batch | None = _rows(fleet).filter(key=key).first() if known else None
    if batch is None:
        raise Problem(404, f"the fleet {fleet.name} has no such batch", errors={"batch_id": []})
    return batch


@router.post("/{name}/v1/batches", **needs("fleet.change_fleet"))
def create_batch(request: HttpRequest, name: str, wanted: BatchCreate) -> dict[str, Any]:
    """Make a batch of an uploaded file. The same request again is the same batch."""
    fleet = fleet_called(name)
    file = file_called(fleet, wanted.input_file_id)
    for word, value in (wanted.metadata or {}).items():
        if "\0" in word + value:
            raise Problem(422, "metadata: a text holds NUL", errors={"metadata": []})
    expires = wanted.output_expires_after
    kept: timedelta = (
        kept_for(None, None) if expires is None else kept_for(expires.anchor, expires.seconds)
    )
    return shown(
        creating.create(
            file, endpoint=wanted.endpoint, completion_window=wanted.completion_window,
            metadata=wanted.metadata, kept=kept,
        )
    )  # fmt: skip


@router.get("/{name}/v1/batches", **needs("fleet.view_fleet"))
def list_batches(request: HttpRequest, name: str, asked: Query[WhichBatches]) -> dict[str, Any]:
    """List the batches of a fleet, the newest first."""
    return page(_rows(fleet_called(name)), asked.after, asked.limit, shown)


@router.get("/{name}/v1/batches/{batch_id}", **needs("fleet.view_fleet"))
def read_batch(request: HttpRequest, name: str, batch_id: str) -> dict[str, Any]:
    """Show a batch."""
    return shown(_batch_called(fleet_called(name), batch_id))


@router.post("/{name}/v1/batches/{batch_id}/cancel", **needs("fleet.change_fleet"))
def cancel_batch(request: HttpRequest, name: str, batch_id: str) -> dict[str, Any]:
    """End a batch early. Requests that no pod has read are taken back."""
    batch = _batch_called(fleet_called(name), batch_id)
    if not advancing.cancel(batch):
        raise Problem(409, f"the batch is {batch.status}; there is nothing to cancel")
    return shown(_batch_called(batch.fleet, batch_id))
