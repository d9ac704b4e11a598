"""A bad query or a missing database gives a clear error, and no item is added."""

from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import CommandError

from fleet.items.feeding import BadInput
from fleet.items.queries import FIRST_PAGE, ItemQuery
from tests.support.factories import a_fleet
from tests.support.fleet_command import run
from tests.support.items import GROUP, STREAM
from tests.support.sources import ON_POSTGRES, Source

pytestmark = pytest.mark.django_db
DOCS = "SELECT id, text AS payload FROM docs ORDER BY id"
on_postgres = pytest.mark.skipif(not ON_POSTGRES, reason="PostgreSQL alone has this")
on_sqlite = pytest.mark.skipif(ON_POSTGRES, reason="SQLite alone has this")


@pytest.fixture
def fleet(client: redis.Redis) -> Any:
    return a_fleet(name="emb", stream=STREAM, group=GROUP)


@pytest.mark.parametrize(
    ("sql", "key", "words"),
    [
        ("SELEC id FROM docs", "id", "syntax error"),
        ("SELECT nope FROM docs", "id", "nope"),
        ("SELECT id FROM nowhere", "id", "nowhere"),
        ("SELECT text FROM docs", "id", "has no column 'id'; it has text; name a column that"),
        ("SELECT a.id, b.id FROM docs a, docs b", "id", "id"),
        pytest.param(
            *("SELECT id, text, text FROM docs", "id", "has several columns 'text'; give each"),
            marks=on_postgres,  # SQLite renames the second one to text:1
        ),
        ("SELECT n, text FROM docs", "n", "n is null in some rows; name a column that is unique"),
        ("SELECT 5 AS n, text FROM docs", "n", "n 5 is in more than one row; name a column"),
        (
            "SELECT CAST(id AS double precision) AS f FROM docs",
            "f",
            "f is float; name a unique column of whole",
        ),
        ("SELECT id FROM docs; DROP TABLE docs", "id", "."),
        ("SELECT id FROM docs) AS x; DROP TABLE docs; --", "id", "."),
        ("SELECT 1 AS id) x; COMMIT; DROP TABLE docs; SELECT * FROM (SELECT 1 AS id", "id", "."),
        ("DELETE FROM docs", "id", "syntax error"),
        ("SELECT id FROM docs WHERE n = $1", "id", "."),
        (" ; ", "id", "the query is empty"),
    ],
)
def test_a_bad_query_gives_a_clear_error_and_adds_nothing(
    client: redis.Redis, source: Source, fleet: Any, sql: str, key: str, words: str
) -> None:
    source.fill(3)
    with pytest.raises(CommandError, match=words) as caught:
        run("enqueue", "emb", "--sql", sql, "--key", key, "--database-url", source.url)
    assert "\n" not in str(caught.value)
    assert not client.exists(STREAM)
    assert source.run("SELECT count(*) FROM docs") == [(3,)]


@on_postgres
def test_a_query_that_writes_is_refused(source: Source) -> None:
    source.run("CREATE SEQUENCE IF NOT EXISTS counted")
    query = ItemQuery("SELECT nextval('counted') AS id", url=source.url)
    with pytest.raises(BadInput, match=r"nextval\(\) in a read-only transaction"):
        query.check()
    source.run("DROP SEQUENCE counted")


@on_sqlite
def test_a_file_that_is_not_an_sqlite_database_gives_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    path.write_text("no database at all " * 100)
    with pytest.raises(BadInput, match=r"a\.sqlite3: file is not a database"):
        ItemQuery(DOCS, url=f"sqlite:///{path}").check()
    with pytest.raises(BadInput, match="unable to open database file; after a repair"):
        ItemQuery(DOCS, url=f"sqlite:///{tmp_path}/none.sqlite3").check()
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite3"]


@on_sqlite
def test_a_key_that_is_not_utf8_is_refused(source: Source) -> None:
    source.run("INSERT INTO docs VALUES (1, CAST(x'ff' AS TEXT), 1)")
    with pytest.raises(BadInput, match="is not UTF-8; name a column"):
        ItemQuery("SELECT text FROM docs", url=source.url, key="text").check()


def test_a_duplicate_key_that_appears_later_is_noticed_before_a_row_is_skipped(
    source: Source,
) -> None:
    source.run("CREATE TABLE odd (id bigint, text text)")
    source.run("INSERT INTO odd VALUES (?, ?)", [(n, "x") for n in range(1, 301)])
    query = ItemQuery("SELECT * FROM odd", url=source.url)
    query.check()
    reading = iter(query)
    for _ in range(10):
        next(reading)
    last_of_the_next_page = FIRST_PAGE + 4 * FIRST_PAGE
    source.run(
        "INSERT INTO odd VALUES (?, ?)",
        [(n, "x") for n in [*range(301, last_of_the_next_page + 1), last_of_the_next_page, 999]],
    )
    with pytest.raises(BadInput, match=f"id {last_of_the_next_page} is in more than one row"):
        list(reading)
    assert query.position.items < last_of_the_next_page


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://h/db", "must be postgresql://user:password@host/name, or sqlite:"),
        ("postgresql://u:secret@127.0.0.1:1/db", r"postgresql://127\.0\.0\.1:1/db: .*refused"),
        ("postgresql://u:se@cret@127.0.0.1:1x/db", "write @ as %40"),
        ("postgresql://u:secret@127.0.0.1:1/db?secret=1", "cannot be read"),
        ("sqlite://host/x", "sqlite:////folder/file"),
        ("sqlite://", "sqlite:////folder/file"),
    ],
)
def test_an_error_names_an_unreachable_database_without_its_password(
    client: redis.Redis, fleet: Any, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setenv("DOCS_URL", url)
    with pytest.raises(CommandError, match=words) as caught:
        run("enqueue", "emb", "--sql", DOCS, "--database-url-env", "DOCS_URL")
    assert "cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not client.exists(STREAM)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "arguments are required: FILE"),
        (["--sql", DOCS], "--sql needs --database-url"),
        (["--key", "id", "a.txt"], "belong to --sql"),
        (["--again", "a.txt"], "no such file"),
        (["--database-url", "sqlite:///x", "a.txt"], "belong to --sql"),
        (
            ["--sql", DOCS, "--database-url-env", "NOT_SET"],
            "environment variable NOT_SET is missing",
        ),
    ],
)
def test_bad_arguments_of_enqueue_are_refused(fleet: Any, words: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        run("enqueue", "emb", *words)
