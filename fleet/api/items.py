"""Items: enqueue one or many, and what failed for the last time."""

import io
import json
import re
import time
from typing import Annotated, Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field, JsonValue

from fleet import enqueueing, letters
from fleet.api import idempotency
from fleet.api.auth import by, needs
from fleet.api.idempotency import Key, Made, Work
from fleet.api.named import fleet_called
from fleet.api.paging import Asked, Page, cursor_of, keys_of
from fleet.api.problems import Problem
from fleet.api.values import WORD, Flag, Given, Moment
from fleet.enqueueing import Spooled, TooLarge
from fleet.items.dead_letters import Letter
from fleet.items.feeding import AnotherFeeder, BadInput
from fleet.letters import LetterVerb
from fleet.models import Fleet

router: Final = Router(tags=["items"])
NDJSON: Final = "application/x-ndjson"
LETTER: Final = r"^[0-9]{1,19}-[0-9]{1,19}$"  # both numbers fit into 64 bits
MOST_LETTERS: Final = 1000
LONGEST_SECONDS: Final = 30  # of one request; the caller repeats it for the rest
ItemId = Annotated[str, Field(max_length=1000, pattern=WORD)]
StreamName = Annotated[str, Field(max_length=500, pattern=WORD)]
LetterId = Annotated[str, Field(max_length=41, pattern=LETTER)]


class ItemCreate(Given):
    """One item."""

    payload: JsonValue = Field(description="What the handler gets: a text, or any JSON but null.")
    id: ItemId | None = Field(None, description="Its id; empty: one is made.")
    reply_to: StreamName | None = Field(
        None, description="Another stream for its result; the fleet must allow it."
    )


class Enqueued(BaseModel):
    """What was put onto the stream."""

    stream: str
    enqueued: int = Field(description="Items of this request that are on the stream.")
    skipped: int = Field(0, description="Lines that are not items and were left out.")
    bad: list[str] = Field(default=[], description="What is wrong with the first of them.")
    unused: list[str] = Field(default=[], description="Keys that do not go with the items.")


class HowMany(BaseModel):
    """How to take the lines."""

    skip_bad: bool = Field(
        False, description="Leave lines that are not items out; else refuse all."
    )


@router.post("/fleets/{name}/items", response={201: Enqueued}, **needs("fleet.change_fleet"))
def enqueue_item(request: HttpRequest, name: str, wanted: ItemCreate, key: Key) -> HttpResponse:
    """Put one item onto the fleet's stream."""
    if wanted.payload is None:
        raise Problem(422, "payload: give a text or JSON", errors={"payload": ["it is null"]})
    fleet = fleet_called(name)
    enqueueing.check(fleet)
    line = json.dumps(wanted.model_dump(exclude_none=True)).encode()
    return _enqueue(request, fleet, io.BytesIO(line).read, len(line), key=key, skip_bad=False)


@router.post(
    "/fleets/{name}/items/bulk",
    response={201: Enqueued},
    **needs(
        "fleet.change_fleet",
        requestBody={"content": {NDJSON: {"schema": {"type": "string"}}}, "required": True},
    ),
)
def enqueue_items(request: HttpRequest, name: str, how: Query[HowMany], key: Key) -> HttpResponse:
    """Put many items onto the fleet's stream: each line is a JSON object, as in a `.jsonl` file.

    All lines are checked before the first is added. The body needs no memory; it goes through a file.
    """
    fleet = fleet_called(name)
    enqueueing.check(fleet)
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    if size > settings.API_LARGEST_BODY:
        raise _too_large()
    return _enqueue(request, fleet, request.read, size, key=key, skip_bad=how.skip_bad)


def _enqueue(
    request: HttpRequest, fleet: Fleet, read: Any, size: int, *, key: str, skip_bad: bool
) -> HttpResponse:
    def enqueue(work: Work, body: Spooled) -> Made:
        try:
            fed = enqueueing.enqueue(fleet, body, name=work.nonce, skip_bad=skip_bad)
        except AnotherFeeder as exc:
            raise Problem(409, f"{exc}", headers={"Retry-After": "1"}) from exc
        except BadInput as exc:
            raise Problem(422, str(exc)) from exc
        work.afterwards(lambda: enqueueing.forget(fleet, work.nonce))
        return Made(
            status=201,
            body=Enqueued(
                stream=fleet.stream, enqueued=fed.total, skipped=fed.skipped, bad=list(fed.bad),
                unused=list(fed.unused),
            ),
        )  # fmt: skip

    try:
        with enqueueing.spooled(read, most=settings.API_LARGEST_BODY) as body:
            if body.size != size:  # the caller is gone: neither a part nor its digest counts
                raise Problem(400, f"the body ended after {body.size:,} of {size:,} bytes")
            return idempotency.once(
                request, key, lambda work: enqueue(work, body), digest=body.digest
            )
    except TooLarge as exc:
        raise _too_large() from exc


def _too_large() -> Problem:
    most = settings.API_LARGEST_BODY
    return Problem(413, f"the body has more than {most:,} bytes; send it in parts")


class FieldOut(BaseModel):
    """A field of an item, as far as it is shown."""

    name: str
    value: str
    size: int = Field(description="Bytes of the whole value.")
    cut: bool


class LetterOut(BaseModel):
    """An item that failed for the last time."""

    letter: str = Field(description="Its id among the dead letters.")
    id: str = Field(description="The item's own id.")
    error: str
    deliveries: int = Field(description="How often it was tried.")
    pod: str
    at: Moment | None
    payload_bytes: int
    fields: list[FieldOut]


class LetterPage(Page):
    """Dead letters, the oldest first."""

    count: int = Field(description="How many there are in all.")
    items: list[LetterOut]


class GroupOut(BaseModel):
    """Dead letters that failed for the same reason."""

    key: str
    example: str
    count: int
    first: Moment | None
    last: Moment | None


class Reasons(BaseModel):
    """Why the newest dead letters are there."""

    count: int = Field(description="How many there are in all.")
    looked_at: int
    groups: list[GroupOut]


class Letters(Given):
    """Which dead letters."""

    letters: list[LetterId] | None = Field(
        None, min_length=1, max_length=MOST_LETTERS, description="These, by their ids."
    )
    all: Flag = Field(False, description="All that exist now.")


class HandledOut(BaseModel):
    """What became of dead letters."""

    count: int
    missing: list[str] = Field(description="Named, and not among the dead letters.")
    left: int = Field(description="After 30 s a request ends: repeat it for the rest.")


@router.get("/fleets/{name}/dead", response=LetterPage, **needs("fleet.view_fleet"))
def list_dead_letters(request: HttpRequest, name: str, asked: Query[Asked]) -> LetterPage:
    """List the items that failed for the last time, with the beginning of each field."""
    there = letters.of_fleet(fleet_called(name))
    keys = keys_of(asked.cursor, str)
    found = there.after(_letter(keys[0]) if keys else "0-0", asked.limit + 1)
    shown = found[: asked.limit]
    more = cursor_of(shown[-1].letter) if len(found) > asked.limit else None
    return LetterPage(count=there.count(), items=[_of(letter) for letter in shown], next=more)


def _letter(key: str) -> str:
    """A key of a cursor that somebody may have made up."""
    if not re.fullmatch(LETTER, key, re.ASCII):
        raise Problem(422, "cursor: give `next` of the page before")
    return key


def _of(letter: Letter) -> LetterOut:
    own = {name: getattr(letter, name) for name in LetterOut.model_fields if name != "fields"}
    fields = [FieldOut(name=f.name, value=f.value, size=f.size, cut=f.cut) for f in letter.fields]
    return LetterOut(**own, fields=fields)


@router.get("/fleets/{name}/dead/reasons", response=Reasons, **needs("fleet.view_fleet"))
def group_dead_letters(request: HttpRequest, name: str) -> Reasons:
    """Group the newest dead letters by what is alike in their errors."""
    found = letters.reasons(fleet_called(name))
    groups = [
        GroupOut(key=g.key, example=g.example.error, count=g.count, first=g.first, last=g.last)
        for g in found.groups
    ]
    return Reasons(count=found.count, looked_at=found.looked_at, groups=groups)


def _handle(request: HttpRequest, name: str, verb: LetterVerb, wanted: Letters) -> HandledOut:
    if bool(wanted.letters) == wanted.all:
        raise Problem(422, "say which: their ids as `letters`, or `all`: true, and not both")
    until = time.monotonic() + LONGEST_SECONDS
    done = letters.handle(
        fleet_called(name), verb, wanted.letters, by=by(request),
        enough=lambda: time.monotonic() > until,
    )  # fmt: skip
    return HandledOut(count=done.count, missing=list(done.missing), left=done.left)


@router.post("/fleets/{name}/dead/retry", response=HandledOut, **needs("fleet.change_fleet"))
def retry_dead_letters(request: HttpRequest, name: str, wanted: Letters) -> HandledOut:
    """Put dead letters back onto the stream; a letter is never lost or put back twice."""
    return _handle(request, name, LetterVerb.RETRY, wanted)


@router.post("/fleets/{name}/dead/drop", response=HandledOut, **needs("fleet.change_fleet"))
def drop_dead_letters(request: HttpRequest, name: str, wanted: Letters) -> HandledOut:
    """Delete dead letters."""
    return _handle(request, name, LetterVerb.DROP, wanted)
