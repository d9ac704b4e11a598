"""Results: the newest of a fleet, page by page into the past."""

import re
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field, JsonValue

from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.paging import Asked, Page, cursor_of, keys_of
from fleet.api.problems import Problem
from fleet.results.newest import newest
from pods.base.redis import redis_client

router: Final = Router(tags=["results"])
ENTRY: Final = re.compile(r"[0-9]{1,19}-[0-9]{1,19}", re.ASCII)


class ResultOut(BaseModel):
    """A result, as `fleet results` writes it."""

    id: str = Field(description="The id of the item.")
    entry: str
    pod: str
    at: str = Field(description="The id of its entry: milliseconds and a number.")
    result: JsonValue
    encoding: str | None = Field(None, description="base64: the result is not text.")


class ResultPage(Page):
    """Results, the newest first. A page of large results has fewer than were asked for."""

    stream: str
    items: list[ResultOut]


@router.get("/fleets/{name}/results", response=ResultPage, **needs("fleet.view_fleet"))
def list_results(request: HttpRequest, name: str, asked: Query[Asked]) -> ResultPage:
    """List the newest results that the stream still has. To export all, use `fleet results`."""
    fleet = fleet_called(name)
    if not fleet.on_stream:
        raise Problem(409, f"the results of {fleet.name} are those of your Celery app")
    keys: list[Any] = keys_of(asked.cursor, str) or [""]
    if keys[0] and not ENTRY.fullmatch(keys[0]):
        raise Problem(422, "cursor: give `next` of the page before")
    client = redis_client(fleet.backlog_url or settings.REDIS_URL)
    try:
        found = newest(client, fleet.result_stream, before=keys[0], most=asked.limit)
    except ValueError as exc:
        raise Problem(409, str(exc)) from exc
    items = [ResultOut(**row) for row in found.rows]
    more = cursor_of(items[-1].at) if found.more and items else None
    return ResultPage(stream=fleet.result_stream, items=items, next=more)
