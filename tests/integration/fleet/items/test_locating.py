"""Where one item is: what a stream can tell, what it cannot, and what it costs to ask."""

from typing import Any

import pytest
import redis

from fleet.items import locating
from fleet.items.locating import Place, Streams, Whereabouts
from pods.base.clock import utcnow
from tests.support.api import a_client
from tests.support.factories import a_fleet
from tests.support.rigs.agent_rig import Agents, Backlog
from tests.support.waiting import until

pytestmark = pytest.mark.one_database
TASKS = Streams(stream="tasks", group="workers", results="tasks:results", dead="tasks:dead")


@pytest.fixture
def backlog(redis_url: str) -> Backlog:
    return Backlog(redis_url)


def place(backlog: Backlog, item: str) -> Place:
    client = redis.Redis.from_url(backlog.url, protocol=2)
    return locating.locate(client, TASKS, item, now=utcnow())


def test_an_item_waits_then_a_pod_has_it_then_it_is_there_no_more(backlog: Backlog) -> None:
    (entry,) = backlog.put(b"x", id=b"a/b")
    for item in ("a/b", entry):
        assert (place(backlog, item).state, place(backlog, item).entry) == (
            Whereabouts.WAITING, entry
        )  # fmt: skip
    backlog.client.xreadgroup("workers", "p1", {"tasks": ">"})
    taken = place(backlog, "a/b")
    assert (taken.state, taken.pod, taken.deliveries) == (Whereabouts.TAKEN, "p1", 1)
    assert taken.seen_at is not None
    assert abs((utcnow() - taken.seen_at).total_seconds()) < 30
    backlog.client.xclaim("tasks", "workers", "podfleet-released", 0, [entry])
    assert place(backlog, "a/b").state is Whereabouts.WAITING
    backlog.client.xack("tasks", "workers", entry)
    gone = place(backlog, entry)
    assert (gone.state, gone.entry, gone.whole) == (Whereabouts.UNKNOWN, entry, True)
    assert place(backlog, "never").state is Whereabouts.UNKNOWN


def test_results_and_dead_letters_of_an_agent_are_found(backlog: Backlog, tmp_path: Any) -> None:
    entries = backlog.put(b"good", b"poison")
    (named,) = backlog.put(b"good", id=b"n")
    (elsewhere,) = backlog.put(b"good", reply_to=b"tasks:results:other")
    agents = Agents()
    try:
        agents.start(backlog, "p1", "agent_handlers:refuses_poison", max_deliveries=1)
        until(lambda: backlog.client.xlen("tasks:dead") and backlog.pending() == 0)
        until(lambda: backlog.client.xlen("tasks:results:other"))
    finally:
        agents.kill_all()
    for item, entry in ((entries[0], entries[0]), ("n", named), (elsewhere, elsewhere)):
        done = place(backlog, item)
        assert (done.state, done.entry, done.pod) == (Whereabouts.DONE, entry, "p1")
    dead = place(backlog, entries[1])
    assert (dead.state, dead.pod) == (Whereabouts.DEAD, "p1")
    assert "a poison item" in dead.because
    backlog.client.xtrim("tasks", maxlen=0)
    assert place(backlog, entries[0]).state is Whereabouts.DONE


def test_the_search_is_bounded_and_says_so(
    backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locating, "LOOKED_AT", 20)
    monkeypatch.setattr(locating, "STEP", 10)
    backlog.put(b"x", id=b"old")
    backlog.put(*[b"x"] * 30)
    old = place(backlog, "old")
    assert (old.state, old.whole) == (Whereabouts.UNKNOWN, False)
    assert old.looked_at == {"stream": 20, "results": 0, "dead": 0}
    assert "older ones were not" in old.because


@pytest.mark.django_db
def test_the_api_says_where_an_item_is(backlog: Backlog) -> None:
    a_fleet(name="emb", stream="tasks", group="workers")
    a_fleet(name="tasks", backlog="celery_redis", stream="q", handler="app:app")
    backlog.put(b"x", id=b"folder/a.txt:7")
    client = a_client("viewer")
    found = client.get("/fleets/emb/items/folder/a.txt:7").json()
    assert (found["id"], found["state"]) == ("folder/a.txt:7", "waiting")
    assert client.get("/fleets/tasks/items/7").status_code == 409
