"""Which program the embedded server is, and whose data it opens."""

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from config import embedded
from pods.base.redis import redis_client


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    """The folder of a server on any free port, that is gone after the test."""
    embedded.url(tmp_path / "var", first_choice=0)
    yield tmp_path / "var"
    embedded.stop(tmp_path / "var")


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_a_server_on_the_path_comes_first_unless_it_is_too_old(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    ours = a_program(tmp_path, name, prints="Redis server v=7.2.4 sha=00000000:0 bits=64")
    assert embedded.find_server() == ours
    for old in ("7.0.15", "6.2.14"):  # 7.0 shows no consumer that has not got an item
        a_program(tmp_path, name, prints=f"Redis server v={old} sha=00000000:0 bits=64")
        assert embedded.find_server() == embedded.bundled_server()


def test_the_server_that_wrote_the_data_is_remembered(
    var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.ensure_running(var)
    embedded.stop(var)
    product, version = (var / "valkey" / "written-by").read_text().split()
    assert (product, int(version.partition(".")[0])) == ("valkey", 9)
    a_program(tmp_path / "bin", "redis-server", prints="Redis server v=7.4.0 sha=0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    assert embedded.find_server() == tmp_path / "bin" / "redis-server"
    assert embedded.find_server(var) == embedded.bundled_server()
    assert redis_client(embedded.ensure_running(var)).ping()


def test_data_of_a_newer_server_are_not_opened_and_the_message_says_which(var: Path) -> None:
    (var / "valkey" / "written-by").write_text("valkey 99.1\n")
    with pytest.raises(embedded.NoServer, match=r"valkey 99\.1 wrote the data.*>= 99\.1"):
        embedded.ensure_running(var)
    assert not (var / "valkey" / "appendonlydir").exists()
    (var / "valkey" / "written-by").write_text("nonsense")
    assert redis_client(embedded.ensure_running(var)).ping()


@pytest.mark.parametrize(
    ("program", "writer", "opens"),
    [
        (("valkey", (9, 1)), ("valkey", (9, 1)), True),
        (("valkey", (9, 1)), ("valkey", (9, 0)), True),
        (("valkey", (9, 0)), ("valkey", (9, 1)), False),
        (("valkey", (9, 1)), ("redis", (7, 0)), True),
        (("valkey", (9, 1)), ("redis", (7, 2)), True),
        (("valkey", (9, 1)), ("redis", (7, 4)), False),
        (("redis", (8, 4)), ("redis", (7, 0)), True),
        (("redis", (7, 2)), ("redis", (7, 4)), False),
        (("redis", (8, 4)), ("valkey", (7, 2)), False),
        (("redis", (10, 0)), ("valkey", (9, 1)), False),
    ],
)
def test_an_older_server_or_another_product_does_not_open_data(
    program: tuple[str, tuple[int, int]], writer: tuple[str, tuple[int, int]], opens: bool
) -> None:
    assert embedded.Program(Path("x"), *program).opens(*writer) is opens


def test_without_a_server_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(metadata, "files", lambda _name: None)
    with pytest.raises(embedded.NoServer, match="make setup"):
        embedded.find_server()


def test_a_server_that_fails_to_start_is_reported_with_its_last_output(
    var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_program(tmp_path / "bin", "valkey-server", prints="Valkey server v=9.1.2 or not")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(embedded.NoServer, match=r"v=9\.1\.2 or not"):
        embedded.ensure_running(var)


def test_the_wheel_holds_a_server_that_is_new_enough() -> None:
    bundled = embedded.bundled_server()
    assert bundled is not None
    program = embedded._program(bundled)
    assert program is not None
    assert program.version >= embedded.OLDEST


def a_program(folder: Path, name: str, *, prints: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{prints}'\n")
    program.chmod(0o755)
    return program
