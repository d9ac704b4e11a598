"""Files of batches as the OpenAI API has them: upload, list, read, delete."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from django.conf import settings
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest, StreamingHttpResponse
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet import enqueueing
from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.problems import Problem
from fleet.batches import creating, files
from fleet.batches.files import InUse
from fleet.enqueueing import TooLarge
from fleet.models import BatchFile, Fleet
from fleet.models.batches import LONGEST_KEY, Purpose
from pods.base.clock import utcnow

router: Final = Router(tags=["files"])
KEPT: Final = timedelta(days=30)
LEAST_KEPT: Final = timedelta(hours=1)
BLOCK: Final = 2**20
LONGEST_NAME: Final = 255
LIST: Final = 10_000
Key = Annotated[str, Field(max_length=LONGEST_KEY, pattern=r"^[A-Za-z0-9_-]*$")]


class WhichFiles(BaseModel):
    """Which files."""

    purpose: str = Field("", max_length=40)
    limit: int = Field(LIST, ge=1, le=LIST)
    order: Literal["asc", "desc"] = "desc"
    after: Key = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A multipart body."""

    fields: dict[str, str]
    file: Any


def shown(file: BatchFile) -> dict[str, Any]:
    """The file as the API shows it."""
    return {
        "id": file.key,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at.timestamp()),
        "expires_at": int(file.expires_at.timestamp()),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def file_called(fleet: Fleet, key: str) -> BatchFile:
    """A whole file of the fleet.

    Raises:
        Problem: 404.
    """
    rows = BatchFile.objects.select_related("fleet")
    file = rows.filter(fleet=fleet, key=key, ready=True).first() if _is_key(key) else None
    if file is None:
        raise Problem(404, f"the fleet {fleet.name} has no such file", errors={"file_id": []})
    return file


def _is_key(key: str) -> bool:
    return key.isascii() and len(key) <= LONGEST_KEY and "\0" not in key


@router.post("/{name}/v1/files", **needs("fleet.change_fleet"))
def create_file(request: HttpRequest, name: str) -> dict[str, Any]:
    """Upload a file of requests. It is checked when a batch is made of it."""
    fleet = fleet_called(name)
    creating.check_fleet(fleet)
    most = settings.BATCH_FILE_BYTES
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    if size > most:
        raise _too_large(most)
    try:
        with enqueueing.spooled(request.read, most=most) as body:
            if body.size != size:  # the caller is gone
                raise Problem(400, f"the body ended after {body.size:,} of {size:,} bytes")
            with body.path.open("rb") as raw:
                uploaded = _parsed(request, raw)
            with uploaded.file:  # its end deletes it
                return _kept(fleet, uploaded)
    except TooLarge as exc:
        raise _too_large(most) from exc


def _parsed(request: HttpRequest, raw: Any) -> Uploaded:
    try:
        handlers = [TemporaryFileUploadHandler(request)]
        fields, found = MultiPartParser(request.META, raw, handlers, "utf-8").parse()
    except MultiPartParserError as exc:
        raise Problem(400, f"the body is not multipart/form-data: {exc}") from exc
    file = found.get("file")
    if file is None:
        raise Problem(422, "file: send the file", errors={"file": []})
    return Uploaded(fields={word: str(fields[word]) for word in fields}, file=file)


def _kept(fleet: Fleet, body: Uploaded) -> dict[str, Any]:
    if body.fields.get("purpose") != Purpose.BATCH:
        raise Problem(422, 'purpose: only "batch" is taken', errors={"purpose": []})
    kept = kept_for(
        body.fields.get("expires_after[anchor]"), body.fields.get("expires_after[seconds]")
    )
    file_name = (body.file.name or "file").replace("\0", "")[:LONGEST_NAME]
    return shown(files.store(fleet, file_name, _blocks(body.file), kept=kept, now=utcnow()))


def _blocks(file: Any) -> Iterator[bytes]:
    yield from file.chunks(BLOCK)


def kept_for(anchor: object, seconds: object) -> timedelta:
    """For how long to keep a file.

    Raises:
        Problem: 422.
    """
    if anchor is None and seconds is None:
        return KEPT
    text = str(seconds)
    kept = (
        timedelta(seconds=int(text))
        if text.isascii() and text.isdigit() and len(text) < 9
        else None
    )
    if anchor != "created_at" or kept is None or not LEAST_KEPT <= kept <= KEPT:
        least, most = (int(span.total_seconds()) for span in (LEAST_KEPT, KEPT))
        said = f'give anchor "created_at" and {least} to {most} seconds'
        raise Problem(422, f"expires_after: {said}", errors={"expires_after": [said]})
    return kept


def _too_large(most: int) -> Problem:
    return Problem(413, f"the file has more than {most:,} bytes; make several batches of it")


@router.get("/{name}/v1/files", **needs("fleet.view_fleet"))
def list_files(request: HttpRequest, name: str, asked: Query[WhichFiles]) -> dict[str, Any]:
    """List the files of a fleet."""
    rows = BatchFile.objects.filter(fleet=fleet_called(name), ready=True)
    if asked.purpose:
        rows = rows.filter(purpose=asked.purpose)
    return page(rows, asked.after, asked.limit, shown, newest_first=asked.order == "desc")


def page(
    rows: Any, after: str, limit: int, shown: Any, *, newest_first: bool = True
) -> dict[str, Any]:
    """A page of rows after the one with this key, as the API shows lists."""
    if after:
        last = rows.filter(key=after).values_list("pk", flat=True).first()
        if last is None:
            raise Problem(422, "after: give the id of the last one of the page before")
        rows = rows.filter(pk__lt=last) if newest_first else rows.filter(pk__gt=last)
    found = list(rows.order_by("-pk" if newest_first else "pk")[: limit + 1])
    items = [shown(row) for row in found[:limit]]
    ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {}
    return {"object": "list", "data": items, "has_more": len(found) > limit, **ends}


@router.get("/{name}/v1/files/{file_id}", **needs("fleet.view_fleet"))
def read_file(request: HttpRequest, name: str, file_id: str) -> dict[str, Any]:
    """Show a file."""
    return shown(file_called(fleet_called(name), file_id))


@router.get("/{name}/v1/files/{file_id}/content", **needs("fleet.view_fleet"))
def read_content(request: HttpRequest, name: str, file_id: str) -> Any:
    """Read the bytes of a file."""
    file = file_called(fleet_called(name), file_id)
    answer = StreamingHttpResponse(files.contents(file), content_type="application/octet-stream")
    answer["Content-Length"] = str(file.size)
    return answer


@router.delete("/{name}/v1/files/{file_id}", **needs("fleet.change_fleet"))
def delete_file(request: HttpRequest, name: str, file_id: str) -> dict[str, Any]:
    """Delete a file."""
    file = file_called(fleet_called(name), file_id)
    try:
        files.delete(file)
    except InUse as exc:
        raise Problem(409, str(exc)) from exc
    return {"id": file_id, "object": "file", "deleted": True}
