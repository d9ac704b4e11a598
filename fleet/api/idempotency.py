"""Idempotency-Key: a request that is sent again within 24 hours is done once and answered alike.

What is guaranteed: of equal requests with one key, however many run at once and wherever a process dies,
one makes the row, or all of its items are added once. Each row is made in the transaction that notes its
id here; items are added by the bookmarks of `fleet enqueue`, under a name that the key's row keeps.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final

import structlog
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from ninja import Header
from pydantic import BaseModel
from redis import RedisError

from fleet.api.problems import Problem, problem_of
from fleet.models import KeyedRequest
from fleet.models.tokens import KEYS_KEPT
from pods.base.clock import utcnow

log = structlog.get_logger(__name__)
HEADER: Final = "Idempotency-Key"
# Longer than the server works on one request; after that another one may continue.
LEASE: Final = timedelta(seconds=150)
Key = Annotated[
    str,
    Header(
        "", alias=HEADER, min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_.:-]+$",
        description="Send the same key again after a lost answer: the request is done once.",
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A success."""

    status: int
    body: BaseModel
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> HttpResponse:
        """The answer."""
        return _response(self.status, self.body.model_dump_json(), self.headers)


class Work:
    """One try of a request."""

    def __init__(self, row: KeyedRequest | None) -> None:
        self._row = row
        self.nonce: uuid.UUID = uuid.uuid4() if row is None else row.nonce
        self.made: int | None = None if row is None else row.made  # by a former try
        self._afterwards: list[Callable[[], None]] = []

    def remember(self, pk: int) -> None:
        """Note what was made. Needs the transaction that makes it.

        Raises:
            Problem: another try has taken over, so nothing may be made here.
        """
        self.made = pk
        if self._row is not None and not _mine(self._row).update(made=pk):
            raise _busy()

    def afterwards(self, act: Callable[[], None]) -> None:
        """Do this when the answer is stored: until then a second try may need what it removes."""
        self._afterwards.append(act)

    def finish(self) -> None:
        """Do what was to be done afterwards; what fails is left undone, since the request is not."""
        for act in self._afterwards:
            try:
                act()
            except RedisError as exc:
                log.warning("request_not_forgotten", because=type(exc).__name__)


def once(
    request: HttpRequest, key: str, act: Callable[[Work], Made], *, digest: str | None = None
) -> HttpResponse:
    """Answer as `act` does; with a key, as its first success did. `digest`: of the body.

    Raises:
        Problem: 409 while an equal request runs, 422 for another request with this key.
    """
    if not key:
        work = Work(None)
        answer = act(work).response()
        work.finish()
        return answer
    row = _claimed(request, key, _digest(request, digest))
    if row.status is not None:
        return _response(row.status, row.body, {**row.headers, "Idempotency-Replayed": "true"})
    work = Work(row)
    try:
        made = act(work)
    except Exception as exc:
        _give_up(row, work, exc)
        raise
    _mine(row).update(
        status=made.status, body=made.body.model_dump_json(), headers=dict(made.headers)
    )
    work.finish()
    return made.response()


def _claimed(request: HttpRequest, key: str, digest: str) -> KeyedRequest:
    """The row of the key, which is ours to work on if it has no answer."""
    owner: Any = request.user.pk
    for _ in range(3):
        now = utcnow()
        try:
            with transaction.atomic():
                return KeyedRequest.objects.create(
                    owner_id=owner,
                    key=key,
                    digest=digest,
                    claimed_until=now + LEASE,
                    created_at=now,
                )
        except IntegrityError:
            row = KeyedRequest.objects.filter(owner_id=owner, key=key).first()
        if row is None:
            continue
        if row.created_at <= now - KEYS_KEPT:
            KeyedRequest.objects.filter(pk=row.pk, created_at=row.created_at).delete()
            continue
        if row.digest != digest:
            text = (
                f"this key was sent with another request; give each request a {HEADER} of its own"
            )
            raise Problem(422, text, errors={HEADER: [text]})
        if row.status is not None or _takes(row):
            return row
        raise _busy()
    raise _busy()


def _takes(row: KeyedRequest) -> bool:
    """Take over a request that nobody works on any more."""
    claim, now = uuid.uuid4(), utcnow()
    free = _mine(row).filter(claimed_until__lte=now)
    if not free.update(claim=claim, claimed_until=now + LEASE):
        return False
    row.claim = claim
    row.refresh_from_db(fields=["made"])
    return True


def _give_up(row: KeyedRequest, work: Work, exc: Exception) -> None:
    """Let the next try have the key: with any body if this one was refused and made nothing."""
    refused = problem_of(exc).status < 500
    if refused and work.made is None:
        _mine(row).delete()
    else:
        _mine(row).update(claimed_until=utcnow())


def _mine(row: KeyedRequest) -> Any:
    return KeyedRequest.objects.filter(pk=row.pk, claim=row.claim, status=None)


def _busy() -> Problem:
    return Problem(
        409, "an equal request with this key runs now; try again", headers={"Retry-After": "1"}
    )


def _digest(request: HttpRequest, of_body: str | None) -> str:
    body = hashlib.sha256(request.body).hexdigest() if of_body is None else of_body
    whole = f"{request.method}\n{request.get_full_path()}\n{body}"
    return hashlib.sha256(whole.encode()).hexdigest()


def _response(status: int, body: str, headers: Mapping[str, str]) -> HttpResponse:
    return HttpResponse(
        body, status=status, content_type="application/json; charset=utf-8", headers=dict(headers)
    )
