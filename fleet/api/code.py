"""The code of fleets: which one a fleet has, another one as the body of a request, the one before."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Final

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet import keeping_code
from fleet.api import idempotency
from fleet.api.auth import by, needs
from fleet.api.idempotency import Key, Made, Work
from fleet.api.named import fleet_called
from fleet.api.problems import Problem
from fleet.api.values import WORD, IfMatch, Moment, is_named
from fleet.code import uploads
from fleet.code.dependencies import BadCode
from fleet.code.packing import LARGEST_BYTES, Packed, megabytes
from fleet.models import Fleet

router: Final = Router(tags=["code"])
BLOCK: Final = 2**18
BYTES: Final = "application/octet-stream"
MOST_SHOWN: Final = 1_000
LATER: Final = "Redis does not answer; the next tick publishes the code"
HandlerName = Annotated[str, Field(max_length=200, pattern=WORD)]


class FileOut(BaseModel):
    """A file of the code. Its content is not shown."""

    name: str
    size: int = Field(description="Bytes.")


class VersionOut(BaseModel):
    """A version of a fleet's code that is kept."""

    version: int
    digest: str = Field(description="SHA-256 of the packed code.")
    source: str = Field(description="The name of the file or folder that it came from.")
    handler: str
    size: int = Field(description="Bytes, packed.")
    made_at: Moment
    made_by: str


class CodeOut(BaseModel):
    """A fleet's present code. `present` is null where the fleet's image has the code."""

    fleet: str
    version: int = Field(description="0: the image has the code.")
    present: VersionOut | None
    requirements: list[str]
    python: str = Field(description="Which Pythons it runs on; empty: 3.10 and later.")
    file_count: int
    files: list[FileOut] = Field(description=f"The first {MOST_SHOWN:,}.")
    left_out: list[str] = Field(
        default=[],
        description="Of this request: secrets, caches, links and the like. Other answers have none.",
    )
    versions: list[VersionOut] = Field(description="Those that are kept, the newest first.")
    warnings: list[str] = []


class HowPacked(BaseModel):
    """What the body is."""

    name: Annotated[str, Field(max_length=200, pattern=WORD)] = Field(
        "", description="Its file name. A script NAME.py is imported as NAME."
    )
    handler: HandlerName = Field(
        "", description="module:function; empty: the fleet's, or NAME:handle of a script."
    )


@router.get("/fleets/{name}/code", response=CodeOut, **needs("fleet.view_fleet"))
def read_code(request: HttpRequest, name: str) -> HttpResponse:
    """Read which code a fleet has. The header ETag is for a change; no content is shown."""
    return _whole(fleet_called(name)).response()


@router.put(
    "/fleets/{name}/code",
    response=CodeOut,
    **needs(
        "fleet.change_fleet",
        requestBody={
            "content": {BYTES: {"schema": {"type": "string", "format": "binary"}}},
            "required": True,
        },
    ),
)
def replace_code(
    request: HttpRequest, name: str, how: Query[HowPacked], if_match: IfMatch, key: Key
) -> HttpResponse:
    """Give a fleet other code: a zip, a tar.gz or one script is the body. It is checked, not run."""
    fleet = fleet_called(name)
    body = _body(request)

    def replace(work: Work) -> Made:
        if work.made is not None:  # by a try whose answer was lost
            return _whole(fleet)
        _refuse_stale(fleet, if_match)
        packed = _packed(fleet, body, how)
        published = keeping_code.set_code(fleet, packed, {}, by=by(request), remember=work.remember)
        return _whole(fleet, packed, warnings=[] if published else [LATER])

    return idempotency.once(request, key, replace, digest=hashlib.sha256(body).hexdigest())


@router.post("/fleets/{name}/code/rollback", response=CodeOut, **needs("fleet.change_fleet"))
def roll_back_code(request: HttpRequest, name: str, if_match: IfMatch, key: Key) -> HttpResponse:
    """Go back to the code before the present one, with its handler."""
    fleet = fleet_called(name)

    def roll_back(work: Work) -> Made:
        if work.made is None:
            _refuse_stale(fleet, if_match)
            keeping_code.rollback(fleet, by=by(request), remember=work.remember)
        return _whole(fleet)

    return idempotency.once(request, key, roll_back)


def _body(request: HttpRequest) -> bytes:
    """The body, which is in memory once.

    Raises:
        Problem: 413 or 400.
    """
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    if size > LARGEST_BYTES:
        raise Problem(413, f"the code has {megabytes(size)}; at most {megabytes(LARGEST_BYTES)}")
    found = bytearray()
    while len(found) < size and (block := request.read(min(BLOCK, size - len(found)))):
        found += block
    if len(found) != size:  # the caller is gone
        raise Problem(400, f"the body ended after {len(found):,} of {size:,} bytes")
    return bytes(found)


def _packed(fleet: Fleet, body: bytes, how: Any) -> Packed:
    try:
        return uploads.packed_of(body, name=how.name, handler=how.handler, present=fleet.handler)
    except BadCode as exc:
        raise Problem(422, str(exc)) from exc


def _refuse_stale(fleet: Fleet, if_match: str) -> None:
    """Refuse a change of code that is not the code that the caller read.

    Raises:
        Problem: 428 or 412.
    """
    if not if_match:
        raise Problem(428, "send the header If-Match with the ETag of the code that you have read")
    if not is_named(_etag(fleet), if_match):
        raise Problem(
            412, f"somebody else changed the code of {fleet.name} meanwhile; read it again"
        )


def _etag(fleet: Fleet) -> str:
    words = f"{fleet.pk} {fleet.code_number} {fleet.bundle} {fleet.handler}"
    return f'"{hashlib.sha256(words.encode()).hexdigest()[:32]}"'


def _whole(fleet: Fleet, packed: Packed | None = None, warnings: Sequence[str] = ()) -> Made:
    fleet.refresh_from_db(fields=["bundle", "code_number", "handler"])
    there = keeping_code.described(fleet)
    versions = [
        VersionOut(
            version=code.number, digest=code.digest, source=code.source, handler=code.handler,
            size=code.size, made_at=code.made_at, made_by=code.made_by,
        )
        for code in keeping_code.versions(fleet)
    ]  # fmt: skip
    body = CodeOut(
        fleet=fleet.name, version=fleet.code_number,
        present=next((one for one in versions if one.version == fleet.code_number), None),
        requirements=list(there.requirements), python=there.python, file_count=len(there.files),
        files=[FileOut(name=n, size=size) for n, size in there.files[:MOST_SHOWN]],
        left_out=list(packed.left_out) if packed else [], versions=versions,
        warnings=list(warnings),
    )  # fmt: skip
    return Made(status=200, body=body, headers={"ETag": _etag(fleet)})
