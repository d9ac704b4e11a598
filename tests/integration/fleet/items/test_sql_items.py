"""Each row of a query becomes one item, however often feeding or the database is interrupted."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from fleet.backlog.redis_streams import AHEAD, RedisStreamProbe
from fleet.items.feeding import Fed, enqueue
from fleet.items.queries import FIRST_PAGE, PAGE_BYTES, ItemQuery
from tests.support.factories import a_fleet
from tests.support.fleet_command import run
from tests.support.items import GROUP, STREAM, Drain, Start, ids, one_was_refused_at_most, text_file
from tests.support.sources import ON_POSTGRES, Source
from tests.support.waiting import until

pytestmark = pytest.mark.django_db
DOCS = "SELECT id, text AS payload FROM docs ORDER BY id"
on_postgres = pytest.mark.skipif(not ON_POSTGRES, reason="PostgreSQL alone has this")


@pytest.fixture
def fleet(client: redis.Redis) -> Any:
    return a_fleet(name="emb", stream=STREAM, group=GROUP)


def items(client: redis.Redis) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in client.xrange(STREAM)]


def feeding_docs(redis_url: str, source: Source) -> list[str]:
    """The program that puts every row of docs on the stream."""
    query = ["--sql", DOCS, "--database", source.url]
    return ["enqueue", redis_url, STREAM, GROUP, *query]


def numbers(first: int, last: int) -> list[str]:
    return [str(n) for n in range(first, last + 1)]


def test_each_row_is_an_item_and_the_key_gives_the_order(
    client: redis.Redis, source: Source
) -> None:
    rows = [(3, "drei", 7), (1, "ünü", 8), (2, None, 9)]
    source.run("INSERT INTO docs VALUES (?, ?, ?)", rows)
    sql = "SELECT n AS place, text, 'r:' || id AS reply_to FROM docs ORDER BY id; "
    query = ItemQuery(sql, url=source.url, key="place")
    assert enqueue(client, STREAM, GROUP, [query]) == Fed(total=3, added=3, files=0)
    first, second, third = items(client)
    assert first == {b"id": b"7", b"payload": b"drei", b"reply_to": b"r:3"}
    assert second == {b"id": b"8", b"payload": "ünü".encode(), b"reply_to": b"r:1"}
    assert json.loads(third[b"payload"]) == {"place": 9, "text": None, "reply_to": "r:2"}


def test_a_rows_own_id_is_used_instead_of_its_key(client: redis.Redis, source: Source) -> None:
    source.run("INSERT INTO docs VALUES (?, ?, ?)", [(1, "x", 5), (2, "y", 6)])
    sql = "SELECT 'doc-' || id AS id, n, text FROM docs -- all of them"
    enqueue(client, STREAM, GROUP, [ItemQuery(sql, url=source.url, key="n")])
    assert ids(client) == ["doc-1", "doc-2"]


def test_bytes_stay_bytes_and_a_percent_sign_needs_no_escape(
    client: redis.Redis, source: Source
) -> None:
    source.run("CREATE TABLE odd (id bigint, payload " + ("bytea)" if ON_POSTGRES else "blob)"))
    source.run("INSERT INTO odd VALUES (?, ?)", [(1, b"\x00\xff"), (2, b"")])
    sql = "SELECT * FROM odd WHERE 'a%sb' LIKE 'a%'"
    enqueue(client, STREAM, GROUP, [ItemQuery(sql, url=source.url)])
    assert [fields[b"payload"] for fields in items(client)] == [b"\x00\xff", b""]


@on_postgres
def test_json_keeps_its_own_digits_and_other_types_are_printed(
    client: redis.Redis, source: Source
) -> None:
    sql = (
        "SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS id, "
        "'{\"n\": 1.00000000000000000001}'::json AS payload "
        "UNION ALL SELECT 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', to_json(ARRAY[1, 2])"
    )
    enqueue(client, STREAM, GROUP, [ItemQuery(sql, url=source.url)])
    assert items(client) == [
        {
            b"id": b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            b"payload": b'{"n": 1.00000000000000000001}',
        },
        {b"id": b"b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", b"payload": b"[1,2]"},
    ]


@pytest.mark.fault(64)
def test_enqueued_rows_are_not_enqueued_again_and_later_rows_are_added(
    client: redis.Redis, source: Source
) -> None:
    source.fill(700)
    for fed in (Fed(total=700, added=700, files=0), Fed(total=700, added=0, files=0)):
        assert enqueue(client, STREAM, GROUP, [ItemQuery(DOCS, url=source.url)]) == fed
    source.fill(300, first=801)
    fed = enqueue(client, STREAM, GROUP, [ItemQuery(DOCS, url=source.url)])
    assert fed == Fed(total=1_000, added=300, files=0)
    assert ids(client) == [*numbers(1, 700), *numbers(801, 1_100)]
    again = enqueue(client, STREAM, GROUP, [ItemQuery(DOCS, url=source.url)], again=True)
    assert again.added == 1_000


def test_another_query_or_key_is_another_source(client: redis.Redis, source: Source) -> None:
    source.run("INSERT INTO docs VALUES (?, ?, ?)", [(1, "x", 5), (2, "y", 6)])
    for sql, key in [(DOCS, "id"), (f"{DOCS} ", "id"), ("SELECT * FROM docs", "id")]:
        enqueue(client, STREAM, GROUP, [ItemQuery(sql, url=source.url, key=key)])
    enqueue(client, STREAM, GROUP, [ItemQuery("SELECT * FROM docs", url=source.url, key="n")])
    assert ids(client) == ["1", "2"] * 3


def test_a_query_and_files_can_go_onto_one_stream(
    client: redis.Redis, source: Source, tmp_path: Path
) -> None:
    source.fill(2)
    paths = [text_file(tmp_path, 2)]
    for added in (4, 0):
        fed = enqueue(client, STREAM, GROUP, [*paths, ItemQuery(DOCS, url=source.url)])
        assert fed == Fed(total=4, added=added, files=1)
    assert ids(client) == ["a.txt:1", "a.txt:2", "1", "2"]


@pytest.mark.parametrize("rows", [0, 1, FIRST_PAGE - 1, FIRST_PAGE, FIRST_PAGE + 1, 1_700, 2_500])
def test_a_reader_continues_after_any_row(source: Source, rows: int) -> None:
    source.fill(2_500)
    first = ItemQuery(DOCS, url=source.url)
    reading = iter(first)
    for _ in range(rows):
        next(reading)
    second = ItemQuery(DOCS, url=source.url)
    assert second.go_to(first.position)
    second.check()
    assert second.count_left() == 2_500 - rows
    assert second.total() == 2_500
    assert [item["id"].decode() for item in second] == numbers(rows + 1, 2_500)


def test_text_keys_are_read_in_the_order_of_the_database(source: Source) -> None:
    source.run("CREATE TABLE odd (k text PRIMARY KEY)")
    keys = [f"{a}{b}{n}" for a in "aAzZéß '\"%_-" for b in "bB 0" for n in range(8)]
    source.run("INSERT INTO odd VALUES (?)", [(key,) for key in keys])
    assert len(keys) > 2 * FIRST_PAGE
    wanted = [row[0] for row in source.run("SELECT k FROM odd ORDER BY k")]
    query = ItemQuery("SELECT * FROM odd", url=source.url, key="k")
    query.check()
    assert [item["id"].decode() for item in query] == wanted


@on_postgres
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("uuid", "md5(i::text)::uuid"),
        ("numeric", "i * 10000000000000000000000.5"),
        ("smallint", "i"),
        ("varchar(9)", "i"),
        ("char(9)", "i"),
    ],
)
def test_keys_of_other_types_work_too(source: Source, kind: str, key: str) -> None:
    sql = f"SELECT ({key})::{kind} AS key FROM generate_series(1, 600) AS i"
    query = ItemQuery(sql, url=source.url, key="key")
    query.check()
    wanted = [str(row[0]) for row in source.run(f"SELECT key FROM ({sql}) AS s ORDER BY key")]
    assert [item["id"].decode() for item in query] == wanted


@pytest.mark.fault(64)
def test_a_kill_at_any_point_neither_loses_nor_repeats_a_row(
    client: redis.Redis, redis_url: str, source: Source, start: Start
) -> None:
    rows, kills = 60_000, 5
    source.fill(rows)
    words = feeding_docs(redis_url, source)
    for _ in range(kills):
        before = client.xlen(STREAM)
        process = start(*words)
        until(lambda then=before: client.xlen(STREAM) > then)  # type: ignore[misc]
        process.kill()
        assert process.wait() == -9
    assert client.xlen(STREAM) < rows
    enqueue(client, STREAM, GROUP, [ItemQuery(DOCS, url=source.url)])
    assert ids(client) == numbers(1, rows)


def test_two_calls_with_the_same_query_add_each_row_once(
    client: redis.Redis, redis_url: str, source: Source, start: Start
) -> None:
    rows = 30_000
    source.fill(rows)
    words = feeding_docs(redis_url, source)
    assert one_was_refused_at_most([start(*words), start(*words)])
    assert ids(client) == numbers(1, rows)


def test_rows_that_are_not_on_the_stream_yet_count_as_backlog(
    client: redis.Redis, source: Source, start: Start, redis_url: str
) -> None:
    source.fill(20_000)
    feeder = start(*feeding_docs(redis_url, source), "--max-length=1000")
    until(lambda: client.exists(STREAM) and client.xlen(STREAM) == 1_000)
    depth = RedisStreamProbe(client, STREAM, GROUP).measure
    assert until(lambda: depth() if depth().items == 20_000 else None).ahead == 19_000
    feeder.kill()
    feeder.wait()
    drain = Drain(redis_url, until_items=20_000)
    fed = enqueue(client, STREAM, GROUP, [ItemQuery(DOCS, url=source.url)], max_length=2_000)
    until(drain.finished)
    assert fed.added == 19_000
    assert [seen.decode() for seen in drain.seen] == numbers(1, 20_000)
    assert drain.longest <= 2_000
    [feeder_that_died] = client.hkeys(AHEAD + STREAM)  # the living feeder has removed its own field
    assert feeder_that_died


@on_postgres
@pytest.mark.fault(46)
def test_a_database_that_ends_our_connection_between_two_pages_is_asked_again(
    source: Source,
) -> None:
    source.fill(3_000)
    query = ItemQuery(DOCS, url=source.url)
    seen = []
    for item in query:
        seen.append(item["id"].decode())
        if len(seen) in {50, 300, 700}:
            ended = source.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'podfleet enqueue'"
            )
            assert ended == [(True,)]
    assert seen == numbers(1, 3_000)


def test_more_large_rows_need_no_more_memory(source: Source, start: Start) -> None:
    source.fill(200)
    size = 4_000_000
    large = f"repeat('x', {size})" if ON_POSTGRES else f"zeroblob({size})"
    used = []
    for count in (10, 200):
        sql = f"SELECT id, {large} AS payload FROM docs WHERE id <= {count}"
        process = start("read_query", source.url, sql)
        assert process.stderr is not None
        read, most = process.stderr.read().split()
        assert int(read) == count
        used.append(int(most))
    assert used[1] < used[0] + 2 * PAGE_BYTES


def test_the_command_prints_how_many_rows_went_onto_which_stream(
    fleet: Any, source: Source, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source.fill(300)
    monkeypatch.setenv("DOCS_URL", source.url)
    words = ("enqueue", "emb", "--sql", DOCS, "--database-url-env", "DOCS_URL")
    assert run(*words) == f"300 items enqueued on {STREAM}\n"
    source.fill(1, first=301)
    assert json.loads(run(*words, "--json")) == {
        "total": 301,
        "added": 1,
        "files": 0,
        "skipped": 0,
        "bad": [],
        "unused": [],
    }
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(*words, "--again")
    assert "301/301" in capsys.readouterr().err


@on_postgres
def test_a_page_reads_only_its_own_rows(source: Source) -> None:
    rows = 20_000
    source.fill(rows)
    source.run("ANALYZE docs")
    read = "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'docs'"
    [(before, _)] = source.run(read)
    assert sum(1 for _ in ItemQuery(DOCS, url=source.url)) == rows
    by_index = until(lambda: (n := source.run(read)[0][1]) >= rows and n)
    assert by_index < rows + 100  # each page reads one row more, which the next page reads again
    assert source.run(read)[0][0] == before
