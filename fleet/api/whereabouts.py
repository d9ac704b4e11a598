"""Where one item is, by its id."""

from typing import Annotated, Final

from django.conf import settings
from django.http import HttpRequest
from ninja import Path, Router
from pydantic import BaseModel, Field

from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.problems import Problem
from fleet.api.values import WORD, Moment
from fleet.items import locating
from fleet.items.locating import Streams
from pods import masking
from pods.base.clock import utcnow
from pods.base.redis import redis_client

router: Final = Router(tags=["items"])
ItemId = Annotated[str, Field(min_length=1, max_length=1000, pattern=WORD)]


class ItemPlace(BaseModel):
    """Where an item is, as far as a stream can tell."""

    id: str
    state: str = Field(description="waiting, taken, done, dead or unknown.")
    because: str
    entry: str = Field(description="Its entry on the stream; empty: not known.")
    pod: str = Field(description="Who has it, or who finished it.")
    seen_at: Moment | None = Field(
        description="When the pod took it, or last said that it works on it."
    )
    deliveries: int | None = Field(description="How often a pod took it; null: not known.")
    found_at: str = Field(description="The id of its result or of its dead letter.")
    looked_at: dict[str, int] = Field(description="Entries of each stream, the newest first.")
    whole: bool = Field(description="False: older entries were not looked at.")


@router.get("/fleets/{name}/items/{path:item_id}", response=ItemPlace, **needs("fleet.view_fleet"))
def locate_item(request: HttpRequest, name: str, item_id: Path[ItemId]) -> ItemPlace:
    """Say where an item is, by its own id or by its entry. At most 10,000 entries are looked at."""
    fleet = fleet_called(name)
    if not fleet.on_stream or fleet.is_dataset:
        raise Problem(409, f"{fleet.name} has no items of a stream, so none can be looked for")
    client = redis_client(fleet.backlog_url or settings.REDIS_URL)
    streams = Streams(
        stream=fleet.stream, group=fleet.group, results=fleet.result_stream, dead=fleet.dead_stream
    )
    place = locating.locate(client, streams, item_id, now=utcnow())
    return ItemPlace(
        id=item_id, state=place.state.value, because=masking.without_passwords(place.because),
        entry=place.entry, pod=place.pod, seen_at=place.seen_at, deliveries=place.deliveries,
        found_at=place.found_at, looked_at=dict(place.looked_at or {}), whole=place.whole,
    )  # fmt: skip
