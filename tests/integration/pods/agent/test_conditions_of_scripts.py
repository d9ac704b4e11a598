"""Single conditions of the scripts, called as an agent in any language calls them."""

from typing import Any

import pytest
import redis

from pods.agent.protocol import RELEASED_CONSUMER, AgentSettings
from pods.agent.stream import Stream

MINUTE_MS = 60_000


@pytest.fixture
def run(backlog):
    """Call a script with these keys and arguments. Returns its answer."""
    return stream_at(backlog.url)._run


def stream_at(url: str) -> Stream:
    return Stream(
        AgentSettings(
            redis_url=url, fleet="test", pod="a", stream="tasks", group="workers", handler="m:f"
        )
    )


@pytest.fixture
def call(backlog, run):
    """Call a script for the pod `a` and its stream."""

    def ask(name: str, *args: Any, more: tuple[str, ...] = ()) -> Any:
        return run(name, ["tasks", backlog.keys.fence("a"), *more], ["workers", "a", *args])

    return ask


def hold(backlog, count=1, *, pod="a", idle_ms=0, payload=b"x"):
    """Let a pod hold new items, which nobody has touched for so long. Returns their ids."""
    entries = backlog.put(*[payload] * count)
    backlog.client.xreadgroup("workers", pod, {"tasks": ">"}, count=count)
    ids: list[Any] = list(entries)
    backlog.client.xclaim("tasks", "workers", pod, 0, ids, idle=idle_ms, justid=True)
    return entries


def trim(backlog):
    backlog.client.xtrim("tasks", maxlen=0, approximate=False)


def taken(answer):
    return [entry.decode() for entry, _, _ in answer[0]]


def claim(call, *, count=10, idle_ms=1000, cursor="0-0", size="", max_deliveries="", dead=()):
    args = [count, RELEASED_CONSUMER, idle_ms, cursor, size, max_deliveries]
    return call("claim", *args, more=dead)


def takes_again(call, script, *dead):
    """What a claim takes, or an agent that was restarted."""
    return (
        claim(call, dead=dead)
        if script == "claim"
        else call("recover", "after", "-", 10, more=dead)
    )


def test_an_item_that_nobody_has_is_no_ones_and_ends_no_script(call):
    assert call("begin", "1-1", 2) == [b"1-1"]
    assert call("keep", "1-1") == [b"1-1"]
    assert call("release", RELEASED_CONSUMER, "1-1", 1) == 0
    assert call("recover", "ids", "1-1") == [[], b"", []]
    assert call("fail", 3, "1-1", "e", "", 0, more=("tasks:dead",)) == [[b"1-1", b"lost", 0]]


def test_an_item_of_another_pod_is_not_recovered_by_its_id(backlog, call):
    [entry] = hold(backlog, pod="b")
    assert call("recover", "ids", entry) == [[], b"", []]
    assert backlog.pending_of("b") == 1


def test_an_item_that_is_gone_before_its_next_try_is_reported_and_stays_pending(backlog, call):
    [entry] = hold(backlog)
    trim(backlog)
    assert call("recover", "ids", entry) == [[], entry.encode(), [entry.encode()]]
    assert backlog.pending_of("a") == 1


@pytest.mark.parametrize("script", ["claim", "recover"])
def test_without_a_dead_letter_stream_an_item_that_is_gone_is_only_acknowledged(
    backlog, call, script
):
    hold(backlog, idle_ms=MINUTE_MS)
    trim(backlog)
    assert taken(takes_again(call, script)) == []
    assert backlog.pending() == 0
    assert backlog.client.keys("tasks:*") == []


@pytest.mark.parametrize("script", ["claim", "recover"])
def test_a_dead_letter_stream_of_the_wrong_type_loses_no_item_that_is_gone(backlog, call, script):
    hold(backlog, idle_ms=MINUTE_MS)
    trim(backlog)
    backlog.client.set("tasks:dead", "a string")
    with pytest.raises(redis.ResponseError, match="dead-letter stream tasks:dead is a string"):
        takes_again(call, script, "tasks:dead")
    assert backlog.pending() == 1


@pytest.mark.parametrize("script", ["claim", "recover", "fail"])
def test_a_second_letter_is_added_to_the_first_one(backlog, call, script):
    for _ in range(2):
        [entry] = hold(backlog, idle_ms=MINUTE_MS)
        trim(backlog)
        if script == "fail":
            call("fail", 3, entry, "e", "", 0, more=("tasks:dead",))
        else:
            takes_again(call, script, "tasks:dead")
    assert len(backlog.dead()) == 2
    assert backlog.pending() == 0


@pytest.mark.parametrize(
    ("max_deliveries", "idle_minutes", "is_taken"),
    [("", 0.1, True), (5, 0.5, False), (5, 2, True), (2, 2, False), (2, 12, True)],
)
def test_an_own_item_waits_for_others_a_minute_and_its_last_try_ten(
    backlog, call, max_deliveries, idle_minutes, is_taken
):
    [entry] = hold(backlog, idle_ms=int(idle_minutes * MINUTE_MS))
    assert taken(claim(call, max_deliveries=max_deliveries)) == [entry] * is_taken


def test_the_item_of_another_pod_is_claimed_as_soon_as_it_is_idle(backlog, call):
    [idle] = hold(backlog, pod="b", idle_ms=2000)
    hold(backlog, pod="b")
    assert taken(claim(call, max_deliveries=2)) == [idle]


def test_items_that_were_given_back_are_taken_up_to_the_bytes(backlog, call):
    given = hold(backlog, 4, pod=RELEASED_CONSUMER, payload=b"x" * 100)
    assert taken(claim(call, size=150)) == given[:2]


def test_a_walk_that_is_full_goes_on_behind_what_it_took(backlog, call):
    old = hold(backlog, 3, pod="b", idle_ms=2000)
    answer = claim(call, count=2)
    assert (taken(answer), answer[1].decode()) == (old[:2], old[1])
    assert taken(claim(call, count=2, cursor=old[1])) == old[2:]


def test_results_without_a_limit_are_never_trimmed(backlog, call):
    entries = hold(backlog, 300)
    items = [word for entry in entries for word in (entry, entry, "r")]
    call("commit", 0, 1, "tasks:results", 300, *items)
    assert backlog.client.xlen("tasks:results") == 300


@pytest.mark.parametrize(
    ("others", "leave_ms", "became"),
    [([], 5, b"retry"), ([RELEASED_CONSUMER], 5, b"retry"), (["b"], 5, b"left"),
     (["b"], 0, b"retry")],
)  # fmt: skip
def test_a_failed_item_is_left_only_to_another_pod_that_is_there(
    backlog, call, others, leave_ms, became
):
    backlog.client.xgroup_create("tasks", "others", "0")
    backlog.client.xgroup_createconsumer("tasks", "others", "c")
    for other in others:
        backlog.client.xgroup_createconsumer("tasks", "workers", other)
    [entry] = hold(backlog)
    answer = call("fail", 3, entry, "e", "", leave_ms, more=("tasks:dead",))
    assert answer == [[entry.encode(), became, 1]]


def test_a_letter_of_an_item_that_is_still_there_does_not_say_that_it_is_gone(backlog, call):
    [entry] = hold(backlog)
    call("fail", 3, entry, "e", "", 1, more=("tasks:dead",))
    [letter] = backlog.dead()
    assert b"dead_gone" not in letter


def test_what_fits_is_read_and_written_field_by_field(backlog, run):
    keys = [backlog.keys.fits, backlog.keys.fence("a")]

    def fits(field: str, before: str, after: str) -> bytes:
        return run("fits", keys, [field, before, after, MINUTE_MS, 2])[0]

    assert fits("f", "", "") == b""
    assert not backlog.client.exists(backlog.keys.fits)
    assert [fits("f", "", "8"), fits("g", "", "16")] == [b"8", b"16"]
    assert fits("f", "8", "") == b"8"
    backlog.client.hset(backlog.keys.fits, "f", "9" * 101)  # nonsense counts as nothing
    assert fits("f", "", "") == b""
    assert fits("f", "", "4") == b"4"  # the key is full now, and begins anew
    assert backlog.client.hgetall(backlog.keys.fits) == {b"f": b"4"}


def test_a_heartbeat_says_the_version_of_the_secrets_where_the_pod_asks_for_it(backlog, run):
    keys = backlog.keys
    said = [keys.pod("a"), keys.command("a"), keys.lease, keys.fence("a")]
    words = [MINUTE_MS, "state", "working"]
    assert run("heartbeat", said, words)[:3] == [b"", b"", 0]
    assert len(run("heartbeat", said, words)) == 4
    asking = [*said, "secrets"]
    assert run("heartbeat", asking, words)[4] == b""
    backlog.client.hset("secrets", "version", "7")
    assert run("heartbeat", asking, words)[4] == b"7"
    backlog.client.delete("secrets")
    backlog.client.set("secrets", "another type")
    assert run("heartbeat", asking, words)[4] == b""


def offered(backlog, call, entry, holder):
    mark = backlog.keys.offered(entry)
    found = call("offer", RELEASED_CONSUMER, entry, holder, MINUTE_MS, more=(mark,))
    assert bool(found) == backlog.client.exists(mark)
    return found


@pytest.mark.parametrize("holder", ["a", RELEASED_CONSUMER])
def test_no_copy_is_made_of_an_own_item_or_of_one_that_was_given_back(backlog, call, holder):
    [entry] = hold(backlog, pod=holder)
    assert offered(backlog, call, entry, holder) is None


def test_a_copy_of_an_item_is_made_only_while_the_stream_has_it(backlog, call):
    first, second = hold(backlog, 2, pod="b")
    assert offered(backlog, call, first, "b") == [b"payload", b"x"]
    trim(backlog)
    assert offered(backlog, call, second, "b") is None
    assert offered(backlog, call, "1-1", "b") is None


def test_a_read_says_where_to_wait_only_if_it_brought_nothing(backlog, call):
    entries = backlog.put_numbered(3)
    last, *flat = call("read", 10, 1000)
    assert (last, flat[0].decode()) == (b"", entries[0])
    assert call("read", 10, 1000) == [entries[2].encode()]


def test_a_read_does_not_double_its_steps_beyond_its_bytes(backlog, call):
    backlog.put(*[b"x" * 93] * 10)  # 100 bytes with the name of the field
    assert len(ids_read(call("read", 10, 350))) == 4


def test_an_equal_part_is_that_of_the_own_group(backlog, call):
    backlog.client.xgroup_create("tasks", "a-group-before", "$")
    for pod in ("a", "b"):
        backlog.client.xgroup_createconsumer("tasks", "workers", pod)
    backlog.put_numbered(10)
    assert len(ids_read(call("read", 10, 1000, 1))) == 5


def test_a_read_takes_no_equal_part_where_nobody_asks_for_it(backlog, call):
    backlog.client.xgroup_createconsumer("tasks", "workers", "b")
    backlog.put_numbered(10)
    assert len(ids_read(call("read", 10, 1000))) == 10


def test_a_read_takes_all_where_the_server_does_not_know_how_many_are_left(backlog, call):
    entries = backlog.put_numbered(4)
    backlog.client.xgroup_createconsumer("tasks", "workers", "b")
    call("read", 1, 1000)
    backlog.client.xdel("tasks", entries[2])
    [group] = backlog.client.xinfo_groups("tasks")
    assert group["lag"] is None
    assert len(ids_read(call("read", 10, 1000, 1))) == 2


def test_a_user_that_may_not_ask_for_an_equal_part_reads_all(backlog):
    backlog.put_numbered(4)
    backlog.client.xgroup_createconsumer("tasks", "workers", "b")
    backlog.client.acl_setuser(
        "old", enabled=True, nopass=True, commands=["+@all", "-xinfo"], keys=["*"]
    )
    try:
        url = backlog.url.replace("redis://", "redis://old:x@")
        assert len(stream_at(url).read(10, 1000, equal_part=True)[0]) == 4
    finally:
        backlog.client.acl_deluser("old")


def ids_read(answer):
    """The ids in an answer of read.lua: each entry here has one field."""
    return answer[1::5]
