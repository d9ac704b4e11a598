"""The stream probe on a real Valkey: its cost, its ages, and what makes a backlog unknown."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis

from fleet.backlog.base import BacklogUnknown, Depth
from fleet.backlog.probes import build_probe
from fleet.backlog.redis_streams import RedisStreamProbe
from tests.support.redis_clients import client_of, counting, may_only_read

STREAM, GROUP = "tasks", "workers"


def depth(client: redis.Redis) -> Depth:
    return RedisStreamProbe(client, STREAM, GROUP).measure()


def add(client: redis.Redis, count: int, payload: bytes = b"x") -> list[bytes]:
    pipe = client.pipeline(transaction=False)
    for _ in range(count):
        pipe.xadd(STREAM, {"payload": payload})
    ids: list[bytes] = pipe.execute()
    return ids


@pytest.fixture
def stream(client: redis.Redis) -> redis.Redis:
    client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    return client


def test_a_new_group_on_an_empty_stream_has_no_backlog(stream: redis.Redis) -> None:
    assert depth(stream) == Depth(waiting=0, pending=0, dead=0)


@pytest.mark.fault(62)
def test_a_full_pending_list_without_lag_is_backlog(stream: redis.Redis) -> None:
    add(stream, 10_000)
    stream.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=10_000)
    seen = depth(stream)
    assert (seen.waiting, seen.pending, seen.items) == (0, 10_000, 10_000)


def test_a_long_backlog_is_exact_while_little_was_delivered(stream: redis.Redis) -> None:
    ids = add(stream, 12_000)
    stream.xreadgroup(GROUP, "a", {STREAM: ">"}, count=500)
    stream.xdel(STREAM, ids[6000])  # now the server does not know its lag
    assert stream.xinfo_groups(STREAM)[0]["lag"] is None
    seen = depth(stream)
    assert (seen.waiting, seen.pending, seen.estimated) == (11_499, 500, False)


@pytest.mark.fault(47)
def test_a_group_made_in_the_middle_of_a_long_stream_has_a_bound_and_a_reason(
    stream: redis.Redis,
) -> None:
    ids = add(stream, 16_000)
    stream.xgroup_setid(STREAM, GROUP, ids[7_999])
    seen = depth(stream)
    assert seen.estimated
    assert 8_000 <= seen.waiting <= 11_000
    assert "between 5,000 and 11,000" in seen.note


@pytest.mark.fault(47)
def test_a_deletion_ahead_in_a_long_stream_makes_the_depth_too_high_by_the_deleted_items_at_most(
    stream: redis.Redis,
) -> None:
    ids = add(stream, 16_000)
    stream.xreadgroup(GROUP, "a", {STREAM: ">"}, count=8_000)
    stream.xdel(STREAM, ids[12_000])
    seen = depth(stream)
    assert (seen.waiting, seen.estimated) == (8_000, True)
    assert "all items ever added minus all ever read" in seen.note


@pytest.mark.fault(47)
@pytest.mark.parametrize("lie", [0, 15_999, 17_000])
def test_a_lag_that_cannot_be_true_is_not_used(stream: redis.Redis, lie: int) -> None:
    ids = add(stream, 16_000)
    stream.xgroup_setid(STREAM, GROUP, ids[7_999], entries_read=lie)
    seen = depth(stream)
    assert seen.estimated
    assert seen.waiting >= 8_000
    assert f"lag of {16_000 - lie:,} cannot be true" in seen.note


def _delete_all(stream: redis.Redis) -> None:
    stream.xdel(STREAM, *(f"{number}-1" for number in range(1, 11)))


def _catch_up_and_add(stream: redis.Redis) -> None:
    stream.xgroup_setid(STREAM, GROUP, "5-1")
    stream.xreadgroup(GROUP, "a", {STREAM: ">"}, count=5)
    stream.xadd(STREAM, {"payload": "x"}, id="11-1")


def _group_at_the_end(stream: redis.Redis) -> None:
    stream.xgroup_destroy(STREAM, GROUP)
    stream.xgroup_create(STREAM, GROUP, "$")
    stream.xadd(STREAM, {"payload": "x"}, id="11-1")


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    ("change", "says", "waiting"),
    [
        (lambda s: s.xdel(STREAM, "7-1"), None, 6),
        (lambda s: s.xtrim(STREAM, maxlen=4, approximate=False), 7, 4),
        (lambda s: s.xtrim(STREAM, maxlen=0), 7, 0),
        (_delete_all, 7, 0),
        (lambda s: s.xgroup_setid(STREAM, GROUP, "5-1"), None, 5),
        (_catch_up_and_add, 1, 1),
        (_group_at_the_end, None, 1),
        (lambda s: s.xgroup_setid(STREAM, GROUP, "5-1", entries_read=99), -89, 5),
    ],
    ids=["xdel", "xtrim", "xtrim_all", "xdel_all", "setid", "caught_up", "at_end", "lie"],
)
def test_a_short_stream_is_exact_for_each_documented_cause_of_a_nil_or_wrong_lag(
    stream: redis.Redis, change: Callable[[redis.Redis], object], says: int | None, waiting: int
) -> None:
    for number in range(1, 11):
        stream.xadd(STREAM, {"payload": "x"}, id=f"{number}-1")
    stream.xreadgroup(GROUP, "a", {STREAM: ">"}, count=3)
    change(stream)
    assert stream.xinfo_groups(STREAM)[0]["lag"] == says
    seen = depth(stream)
    assert (seen.waiting, seen.estimated) == (waiting, False)


def test_a_user_that_may_only_read_can_measure(stream: redis.Redis, redis_url: str) -> None:
    add(stream, 3)
    address = may_only_read(stream, redis_url)
    with client_of(address) as reader:
        assert depth(reader).waiting == 3
        stream.acl_setuser("reader", commands=["-eval_ro"])
        with pytest.raises(BacklogUnknown, match="permissions"):
            depth(reader)


def test_the_cost_does_not_grow_with_the_depth(stream: redis.Redis) -> None:
    for _ in range(3):
        ids = add(stream, 8_000)
        stream.xgroup_setid(STREAM, GROUP, ids[-4_000])
        stream.config_resetstat()
        with counting(stream) as sent:
            depth(stream)
        assert sent == ["EVAL_RO"]
        assert stream.info("commandstats")["cmdstat_xrange"]["calls"] <= 24


@pytest.mark.fault(58)
def test_large_items_are_not_all_read(stream: redis.Redis) -> None:
    ids = add(stream, 60, b"x" * 2**20)
    stream.xgroup_setid(STREAM, GROUP, ids[29])
    with counting(stream) as sent:
        seen = depth(stream)
    assert sent == ["EVAL_RO"]
    assert seen.estimated
    assert 30 <= seen.waiting <= 59  # at most 4 MB were read


def test_the_age_of_the_oldest_item_is_measured_by_the_servers_clock(stream: redis.Redis) -> None:
    seconds, microseconds = stream.time()
    now = seconds * 1000 + microseconds // 1000
    for minutes in (50, 40, 30, 20):
        stream.xadd(STREAM, {"payload": "x"}, id=f"{now - minutes * 60_000}-0")
    stream.xreadgroup(GROUP, "a", {STREAM: ">"}, count=2)
    seen = depth(stream)
    assert seen.oldest_age is not None
    assert timedelta() <= seen.oldest_age - timedelta(minutes=30) < timedelta(seconds=30)


@pytest.mark.parametrize("entry", ["1-1", "1700000000-0", "99999999999999-0"])
def test_items_whose_ids_are_not_times_have_no_age(stream: redis.Redis, entry: str) -> None:
    stream.xadd(STREAM, {"payload": "x"}, id=entry)
    seen = depth(stream)
    assert (seen.waiting, seen.oldest_age) == (1, None)


@pytest.mark.fault(51)
def test_an_item_has_age_zero_if_the_clock_was_set_back_a_little_after_it(
    stream: redis.Redis,
) -> None:
    stream.xadd(STREAM, {"payload": "x"}, id=f"{int(time.time() * 1000) + 20_000}-0")
    assert depth(stream).oldest_age == timedelta()


def test_nothing_waits_after_the_highest_possible_id(
    stream: redis.Redis,
) -> None:
    add(stream, 3)
    stream.xgroup_setid(STREAM, GROUP, "18446744073709551615-18446744073709551615")
    assert depth(stream).waiting == 0


@pytest.mark.fault(47)
def test_a_missing_stream_is_unknown_and_the_message_says_how_to_make_it(
    client: redis.Redis,
) -> None:
    with pytest.raises(BacklogUnknown, match=r"there is no stream tasks.*`fleet enqueue` makes it"):
        depth(client)


@pytest.mark.fault(47)
def test_a_missing_group_is_unknown_and_the_message_names_the_existing_groups(
    client: redis.Redis,
) -> None:
    client.xgroup_create(STREAM, "others", "0", mkstream=True)
    with pytest.raises(BacklogUnknown, match=r"has no group workers \(it has: others\); XGROUP"):
        depth(client)


def test_a_key_that_is_not_a_stream_is_unknown(client: redis.Redis) -> None:
    client.set(STREAM, "text")
    with pytest.raises(BacklogUnknown, match=r"the key tasks is not a stream; name another one$"):
        depth(client)


@pytest.mark.fault(45)
def test_an_emptied_server_is_unknown_and_not_zero(stream: redis.Redis) -> None:
    add(stream, 5)
    assert depth(stream).items == 5
    stream.flushall()
    with pytest.raises(BacklogUnknown, match="Redis was emptied"):
        depth(stream)


@pytest.mark.fault(45)
def test_the_depth_of_a_full_server_is_known(own_server: str) -> None:
    client = client_of(own_server)
    client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    add(client, 100)
    client.config_set("maxmemory", 1)
    with pytest.raises(redis.OutOfMemoryError):
        add(client, 1)
    assert depth(client).waiting == 100


@pytest.mark.fault(45)
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading the dataset"),
        (b"-BUSY Redis is busy running a script\r\n", "BUSY"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "OOM|not allowed"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN|MASTER is down"),
        (b"-NOPERM this user has no permissions to run the 'eval_ro' command\r\n", "permissions"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer"),
    ],
)
def test_a_server_that_answers_an_error_is_unknown(
    server_that_says: Callable[[bytes], str], answer: bytes, message: str
) -> None:
    with pytest.raises(BacklogUnknown, match=message):
        depth(client_of(server_that_says(answer)))


@pytest.mark.fault(45)
def test_a_server_that_does_not_answer_is_unknown(
    server_that_says: Callable[[bytes], str],
) -> None:
    with pytest.raises(BacklogUnknown, match="Redis does not answer"):
        depth(client_of(server_that_says(b"")))


@pytest.mark.fault(45)
def test_a_server_that_is_down_is_unknown() -> None:
    with pytest.raises(BacklogUnknown, match="Redis does not answer"):
        depth(client_of("redis://127.0.0.1:1/0"))


def test_the_stream_probe_is_built_from_plain_values(stream: redis.Redis, redis_url: str) -> None:
    add(stream, 2)
    probe = build_probe("redis_stream", url=redis_url, name=STREAM, group=GROUP)
    assert probe.measure().waiting == 2
