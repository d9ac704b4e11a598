"""`fleet collect` loads each part once into a table, whatever kills it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from django.core.management.base import CommandError

from fleet.datasets import collecting
from fleet.datasets.collecting import Target
from fleet.datasets.listing import BadDataset
from fleet.models import Fleet
from tests.support.datasets import FLEET, work, write_parquet
from tests.support.fleet_command import run
from tests.support.sources import ON_POSTGRES

needs_postgres = pytest.mark.skipif(not ON_POSTGRES, reason="needs PostgreSQL")
TABLE = "collected_vectors"


@pytest.fixture
def given(fleet: Fleet, client: redis.Redis, tmp_path: Path) -> Path:
    """A dataset of 4,000 rows in 4 parts, each row with a vector."""
    write_parquet(tmp_path / "in" / "a.parquet", 4000)
    run(
        "feed", FLEET, f"file://{tmp_path}/in/", "--into", f"file://{tmp_path}/out",
        "--rows-per-range", 1000,
    )  # fmt: skip
    for name in work(client):
        path = tmp_path / "out" / str(name)
        ids = pq.read_table(path).column("id").to_pylist()
        vectors = pa.array([[float(i[1:]), 0.5] for i in ids], pa.list_(pa.float32(), 2))
        pq.write_table(pa.table({"id": ids, "result": vectors, "n": list(range(len(ids)))}), path)
    return tmp_path


@pytest.fixture
def address() -> Iterator[str]:
    """The URL of a table that does not exist yet."""
    where = os.environ["DATABASE_URL"]
    with psycopg.connect(where) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {TABLE}, {TABLE}_parts")
    parts = urlsplit(where)
    yield urlunsplit(parts._replace(path=f"{parts.path}/{TABLE}"))
    with psycopg.connect(where) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {TABLE}, {TABLE}_parts")


def ask(sql: str) -> list[Any]:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        return connection.execute(sql).fetchall()  # type: ignore[arg-type]


def do(sql: str) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute(sql)  # type: ignore[arg-type]


def collect(address: str) -> dict[str, int]:
    told: dict[str, int] = json.loads(run("collect", FLEET, "--into", address, "--json"))
    return told


@needs_postgres
def test_each_part_is_loaded_once(given: Path, address: str) -> None:
    assert collect(address) == {"parts": 4, "loaded": 4, "rows": 4000}
    assert ask(f"SELECT count(*), sum(n) FROM {TABLE}") == [(4000, 4 * sum(range(1000)))]
    assert ask(f"SELECT result FROM {TABLE} WHERE id = 'r2999'") == [([2999.0, 0.5],)]
    assert collect(address) == {"parts": 4, "loaded": 0, "rows": 0}


@needs_postgres
def test_a_row_with_a_known_id_is_replaced(given: Path, address: str) -> None:
    collect(address)
    ask(f"UPDATE {TABLE} SET n = -1 RETURNING 1")
    ask(f"DELETE FROM {TABLE}_parts WHERE ctid = '(0,1)' RETURNING 1")
    assert collect(address)["rows"] == 1000
    assert ask(f"SELECT count(*) FROM {TABLE} WHERE n = -1") == [(3000,)]


@needs_postgres
def test_a_kill_in_the_middle_of_a_part_loses_and_doubles_nothing(
    given: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    original, copied = collecting._copy, []

    def killed(*words: Any) -> None:
        original(*words)
        copied.append(1)
        if len(copied) == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(collecting, "_copy", killed)
        with pytest.raises(Killed):
            collect(address)
    assert ask(f"SELECT count(*) FROM {TABLE}") == [(2000,)]
    assert collect(address)["loaded"] == 2
    assert ask(f"SELECT count(*) FROM {TABLE}") == [(4000,)]


@needs_postgres
def test_vectors_can_be_searched_where_the_server_has_pgvector(given: Path, address: str) -> None:
    try:
        do("CREATE EXTENSION vector")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL does not have the extension pgvector")
    try:
        assert collect(address) == {"parts": 4, "loaded": 4, "rows": 4000}
        nearest = f"SELECT id FROM {TABLE} ORDER BY result <-> '[17.2, 0.5]' LIMIT 2"
        assert ask(nearest) == [("r17",), ("r18",)]
        kind = (
            f"SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{TABLE}'"
        )
        assert ask(f"{kind}::regclass AND attname = 'result'") == [("vector(2)",)]
    finally:
        do("DROP EXTENSION vector CASCADE")


@needs_postgres
def test_a_table_that_lacks_a_column_is_named(given: Path, address: str) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute(f"CREATE TABLE {TABLE} (id text PRIMARY KEY, n bigint)")
    with pytest.raises(CommandError, match=f"{TABLE} has no column result; it has: id, n"):
        run("collect", FLEET, "--into", address)
    assert ask(f"SELECT count(*) FROM {TABLE}_parts") == [(0,)]


def test_types_follow_the_part() -> None:
    schema = pa.schema(
        [
            ("id", pa.string()), ("v", pa.list_(pa.float32(), 3)), ("b", pa.binary()),
            ("i", pa.int64()), ("f", pa.float64()), ("t", pa.bool_()), ("l", pa.list_(pa.string())),
        ]
    )  # fmt: skip
    with_vectors = [collecting._type_of(field, vectors=True) for field in schema]
    assert with_vectors == [
        "text", "vector(3)", "bytea", "bigint", "double precision", "boolean", "text[]",
    ]  # fmt: skip
    assert collecting._type_of(schema.field("v"), vectors=False) == "real[]"
    assert collecting._written([[1.0, 0.25], None], "vector(2)") == ["[1.0,0.25]", None]


def test_a_target_is_a_database_and_a_table() -> None:
    target = Target.of("postgresql://u:p@h:5/db/public.vec?sslmode=require")
    assert (target.address, target.table) == (
        "postgresql://u:p@h:5/db?sslmode=require",
        ["public", "vec"],
    )
    for url in (
        "postgresql://h/db",
        "mysql://h/db/t",
        "postgresql://h/db/a/b",
        "postgresql://h/db/a.b.c",
    ):
        with pytest.raises(BadDataset):
            Target.of(url)


def test_a_server_that_does_not_answer_is_named_without_its_password(
    fleet: Fleet, client: redis.Redis, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", 10)
    run("feed", FLEET, f"file://{tmp_path}/in/", "--into", f"file://{tmp_path}/out")
    with pytest.raises(CommandError, match="PostgreSQL: ") as found:
        run("collect", FLEET, "--into", "postgresql://u:sesame@127.0.0.1:1/db/t")
    assert "sesame" not in str(found.value)
