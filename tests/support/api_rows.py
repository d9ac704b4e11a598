"""Rows such that every operation of the API finds something, and where its addresses lead."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

import redis

from fleet import operating
from fleet.models import Channel, Override
from fleet.tick import ticking
from pods.base import sealing
from pods.base.clock import utcnow
from pods.models import Orphan
from pods.states import READY, TERMINATED
from tests.support.factories import a_fleet, a_pod, an_account, an_alert

ID: Final = 4711
POD: Final = "pod-of-tests"


def rows_for_every_operation(redis_url: str) -> None:
    """A fleet `emb` with everything that an address can name."""
    now = utcnow()
    account = an_account(name="main", pk=ID)
    fleet = a_fleet(name="emb", stream="texts", group="texts", accounts=[account])
    operating.make_group(fleet)
    a_pod(fleet, READY, name=POD)
    a_pod(fleet, TERMINATED, ended_at=now)
    ticking.tick_fleet(fleet.pk)
    ticks = fleet.ticks.all()
    ticks.update(id=ID)
    an_alert(fleet, pk=ID)
    until = now + timedelta(hours=1)
    Override.objects.create(pk=ID, fleet=fleet, pods=1, until=until, by="ann", because="x")
    Orphan.objects.create(
        pk=ID, account=account, external_id="m-1", name="pf-1", first_seen_at=now, last_seen_at=now
    )
    # A host that is refused at once, so that no test waits for it.
    sealed = sealing.seal("jsons://127.0.0.1/alerts")
    Channel.objects.create(pk=ID, name="on-call", sealed_url=sealed)
    server = redis.Redis.from_url(redis_url)
    for n in range(3):
        server.xadd("texts:dead", {"id": str(n), "payload": "p", "_error": f"KeyError: {n}"})
        server.xadd("texts:results", {"id": str(n), "result": '{"n": 1}', "pod": "p"})


def _name(path: str) -> str:
    return POD if "/pods/" in path else "emb"


def _id(_path: str) -> int:
    return ID


PLACES: Final[Mapping[str, Callable[[str], object]]] = {
    "name": _name,
    "item_id": lambda _path: "0",
    **dict.fromkeys(
        ("decision_id", "alert_id", "hold_id", "machine_id", "account_id", "channel_id"), _id
    ),
}
