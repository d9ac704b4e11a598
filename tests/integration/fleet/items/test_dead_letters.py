"""Operators list dead letters, put them back, and delete them."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from django.core.management import CommandError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.items.dead_letters import AT_ONCE, BYTES_AT_ONCE, DeadLetters
from pods.agent.protocol import SCRIPTS
from tests.support.examples import examples
from tests.support.factories import a_fleet
from tests.support.fleet_command import run
from tests.support.items import ids, text_file

pytestmark = pytest.mark.django_db

DEAD_FIELDS = [
    b"dead_entry",
    b"dead_error",
    b"dead_traceback",
    b"dead_deliveries",
    b"dead_pod",
    b"dead_at_ms",
    b"dead_history",
]


@pytest.fixture
def fleet(client: redis.Redis) -> Any:
    return a_fleet(name="emb", stream="tasks", group="workers")


def die(client: redis.Redis, error: str = "ValueError: bad") -> int:
    """Read all waiting items, and make them dead letters as an agent does."""
    fail = client.register_script((SCRIPTS / "fail.lua").read_text())
    count = 0
    while answer := client.xreadgroup("workers", "pod-a", {"tasks": ">"}, count=100):
        for entry, _ in answer[0][1]:
            keys, args = ["tasks", "fence", "tasks:dead"], ["workers", "pod-a", 5]
            fail(keys=keys, args=[*args, entry, error, "Traceback …", 1])
            count += 1
    return count


def test_a_letter_goes_back_with_its_fields_its_id_and_its_history(
    fleet: Any, client: redis.Redis
) -> None:
    client.xgroup_create("tasks", "workers", "0", mkstream=True)
    first = client.xadd("tasks", {"payload": b"\x00\xff", "id": "mine", "reply_to": "r", "x": "y"})
    second = client.xadd("tasks", {"payload": "no id"})
    assert die(client, "ValueError: bad") == 2
    assert json.loads(run("dead", "retry", "emb", "--all", "--json")) == {"letters": 2, "left": 0}
    (_, mine), (_, other) = client.xrange("tasks", min=f"({second.decode()}")
    history = mine.pop(b"dead_history")
    assert mine == {b"payload": b"\x00\xff", b"id": b"mine", b"reply_to": b"r", b"x": b"y"}
    assert history.endswith(b" pod-a 1 ValueError: bad")
    assert other[b"id"] == second
    assert first < second
    die(client, "KeyError: worse")
    [letter, _] = json.loads(run("dead", "list", "emb", "--json"))["letters"]
    assert (letter["id"], letter["error"], letter["deliveries"]) == ("mine", "KeyError: worse", 1)
    assert letter["traceback"] == "Traceback …"
    assert len(letter["history"]) == 1
    assert "failed 2 times" in run("dead", "list", "emb")


def test_a_letter_whose_item_was_trimmed_has_nothing_to_put_back_and_stays(
    fleet: Any, client: redis.Redis
) -> None:
    client.xgroup_create("tasks", "workers", "0", mkstream=True)
    client.xadd("tasks", {"payload": "gone"})
    client.xadd("tasks", {"payload": "there"})
    fail = client.register_script((SCRIPTS / "fail.lua").read_text())
    [[_, entries]] = client.xreadgroup("workers", "pod-a", {"tasks": ">"})
    client.xtrim("tasks", maxlen=1, approximate=False)
    for entry, _ in entries:
        keys, args = ["tasks", "fence", "tasks:dead"], ["workers", "pod-a", 5]
        fail(keys=keys, args=[*args, entry, "ValueError: bad", "", 1])
    assert json.loads(run("dead", "retry", "emb", "--all", "--json")) == {"letters": 1, "left": 1}
    assert client.xlen("tasks") == 2
    assert json.loads(run("dead", "drop", "emb", "--all", "--json")) == {"letters": 1, "left": 0}


MEGABYTE = 1024 * 1024


def large_letters(client: redis.Redis, count: int, size: int) -> list[str]:
    client.xgroup_create("tasks", "workers", "0", mkstream=True)
    for n in range(count):
        client.xadd("tasks", {"payload": bytes([n]) * size, "id": str(n)})
    die(client)
    return [entry.decode() for entry, _ in client.xrange("tasks:dead")]


@pytest.mark.parametrize("named", [False, True], ids=["all", "named"])
def test_a_step_of_a_retry_moves_a_bounded_number_of_bytes(
    client: redis.Redis, *, named: bool
) -> None:
    size, count = 3 * MEGABYTE, 12
    entries = large_letters(client, count, size)
    letters = DeadLetters(client, stream="tasks", dead="tasks:dead")
    client.config_resetstat()
    assert letters.retry(entries if named else None, told=lambda _: None) == count
    calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert calls >= count * size // (BYTES_AT_ONCE + size)
    assert client.xlen("tasks:dead") == 0
    back = [fields[b"payload"] for _, fields in client.xrange("tasks")][-count:]
    assert back == [bytes([n]) * size for n in range(count)]


@pytest.mark.parametrize("act", ["first", "drop", "retry"])
def test_no_page_of_large_items_is_read_into_memory(client: redis.Redis, act: str) -> None:
    large_letters(client, 12, 3 * MEGABYTE)
    letters = DeadLetters(client, stream="tasks", dead="tasks:dead")
    before = client.info("stats")["total_net_output_bytes"]
    if act == "first":
        assert [x.payload_bytes for x in letters.first(100)] == [3 * MEGABYTE] * 12
        assert len(letters.first(5)) == 5
    else:
        assert getattr(letters, act)(None, told=lambda _: None) == 12
    read = client.info("stats")["total_net_output_bytes"] - before
    assert read < 4 * MEGABYTE  # the newest letter, whose id ends the step


def test_all_means_the_letters_that_exist_when_the_call_begins(client: redis.Redis) -> None:
    client.xgroup_create("tasks", "workers", "0", mkstream=True)
    for n in range(2 * AT_ONCE + 1):
        client.xadd("tasks", {"payload": str(n), "id": str(n)})
    die(client)
    letters, steps = DeadLetters(client, stream="tasks", dead="tasks:dead"), []

    def dies_at_once(count: int) -> None:
        steps.append(count)
        die(client)

    assert letters.retry(None, told=dies_at_once) == 2 * AT_ONCE + 1
    assert steps == [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1]
    assert letters.count() == 2 * AT_ONCE + 1
    assert letters.drop(None, told=steps.append) == 2 * AT_ONCE + 1
    assert letters.count() == 0


def test_single_letters_can_be_named_and_a_missing_one_is_not_counted(
    fleet: Any, client: redis.Redis, tmp_path: Path
) -> None:
    run("enqueue", "emb", text_file(tmp_path, 3))
    die(client)
    letters = [
        entry["letter"] for entry in json.loads(run("dead", "list", "emb", "--json"))["letters"]
    ]
    assert run("dead", "retry", "emb", "--id", letters[1], "--id", letters[1]) == (
        "1 put back onto tasks; 2 dead letters left\n"
    )
    assert ids(client, "tasks")[3:] == ["a.txt:2"]
    assert run("dead", "drop", "emb", "--id", letters[0]) == "1 deleted; 1 dead letter left\n"
    assert run("dead", "list", "emb").splitlines()[-1] == "1 dead letter"


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_a_letter_that_is_not_there_is_an_error_and_the_others_are_handled(
    fleet: Any, client: redis.Redis, tmp_path: Path, verb: str
) -> None:
    run("enqueue", "emb", text_file(tmp_path, 2))
    die(client)
    first, second = (entry.decode() for entry, _ in client.xrange("tasks:dead"))
    with pytest.raises(CommandError, match=r"^1 .*; 1 dead letter left; not among .*: 1-0 "):
        run("dead", verb, "emb", "--id", "1-0", "--id", first)
    assert [entry.decode() for entry, _ in client.xrange("tasks:dead")] == [second]
    with pytest.raises(CommandError, match=f"^0 .*: {first} .*fleet dead list emb"):
        run("dead", verb, "emb", "--id", first)
    with pytest.raises(SystemExit) as ended:
        run("dead", verb, "emb", "--id", "1-0", "--json")
    assert ended.value.code == 1


def test_a_full_server_loses_no_letter(client: redis.Redis) -> None:
    client.xgroup_create("tasks", "workers", "0", mkstream=True)
    client.xadd("tasks", {"payload": "x"})
    die(client)
    letters = DeadLetters(client, stream="tasks", dead="tasks:dead")
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.ResponseError):
            letters.retry(None, told=lambda _: None)
    finally:
        client.config_set("maxmemory", 0)
    assert letters.count() == 1
    assert client.xlen("tasks") == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["retry", "emb"], "--id LETTER, or --all"),
        (["retry", "emb", "--id", "first"], "is not a letter"),
        (["list", "emb", "--limit", "0"], "--limit is 0"),
        (["list", "nobody"], "no fleet 'nobody'"),
    ],
)
def test_bad_arguments_of_dead_are_refused(fleet: Any, words: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        run("dead", *words)


ODD = st.one_of(
    st.binary(max_size=12),
    st.integers().map(lambda n: str(n).encode()),
    st.sampled_from(["²", "٣", "9" * 18, "9" * 5_000, "-1", "nan", "1e3"]).map(str.encode),
)
LETTER = st.dictionaries(
    st.one_of(st.sampled_from([*DEAD_FIELDS, b"id", b"payload"]), st.binary(max_size=3)),
    ODD,
    min_size=1,
    max_size=9,
)


@pytest.mark.fault(58)
@settings(max_examples=examples(300), deadline=None, suppress_health_check=list(HealthCheck))
@given(fields=LETTER)
def test_any_letter_can_be_listed_and_put_back(
    client: redis.Redis, fields: dict[bytes, bytes]
) -> None:
    client.delete("tasks", "tasks:dead")
    letters = DeadLetters(client, stream="tasks", dead="tasks:dead")
    entry = client.xadd("tasks:dead", cast("Any", fields))
    [letter] = letters.first(10)
    assert letter.letter == entry.decode()
    assert letter.deliveries >= 0
    assert letters.retry(None, told=lambda _: None) == 1
    [(_, back)] = client.xrange("tasks")
    assert {
        k: v for k, v in fields.items() if k not in {*DEAD_FIELDS, b"id"}
    }.items() <= back.items()


@pytest.mark.fault(68)
def test_a_letter_is_printed_on_one_line_without_control_characters(
    fleet: Any, client: redis.Redis
) -> None:
    words = {"id": "ü\x1b[2J", "dead_error": "a\r\nb\x1b]0;title\x07", "dead_pod": "p\x9b31m"}
    client.xadd("tasks:dead", {**words, "dead_at_ms": "9" * 17})
    first, _ = run("dead", "list", "emb").splitlines()
    assert first.isprintable()
    assert "–  ü\\x1b[2J: a\\r\\nb\\x1b]0;title\\x07 (0 tries, 0 bytes, p\\x9b31m)" in first
