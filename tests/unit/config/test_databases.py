"""Each wait for PostgreSQL has a limit."""

import socket
from typing import Any

import dj_database_url
import psycopg
import pytest

from config.databases import LIMITS, with_limits


def test_postgresql_gets_a_limit_for_each_wait_and_the_address_counts_more() -> None:
    plain = with_limits(dict(dj_database_url.parse("postgresql://u:p@db/x")))
    assert plain["OPTIONS"] == LIMITS
    own = with_limits(dict(dj_database_url.parse("postgresql://db/x?connect_timeout=3")))
    assert int(own["OPTIONS"]["connect_timeout"]) == 3
    assert own["OPTIONS"]["tcp_user_timeout"] == LIMITS["tcp_user_timeout"]


def test_sqlite_keeps_its_settings() -> None:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": "x"}
    assert with_limits(database) is database


def test_a_server_that_says_nothing_is_an_error() -> None:
    limits: Any = {**LIMITS, "connect_timeout": 1}  # libpq waits for at least two seconds
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(host="127.0.0.1", port=port, dbname="x", user="u", **limits)
