"""The services of a test run: a real Valkey, and SQLite in a file or a real PostgreSQL.

This is a pytest plugin that `addopts` loads, because Django's settings read the environment before any
conftest.
"""

import os
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Generator, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from config import embedded
from tests.support import lengths, migrated, postgres, reaper

DATABASE_FIXTURES = {"installation", "db", "transactional_db", "live_server", "django_db_setup"}
DATABASE_FIXTURES |= {"database_kind"}  # its tests start a server of their own
# A folder with the vendors' own documents; a migrated SQLite file, which makes many runs faster.
FOR_TESTS = {"PODFLEET_SPECS", migrated.VARIABLE}
# Folders with the tests of pages, commands and the API.
EDGES = {"admin", "api", "management", "pages", "web"}
MOST_CASES = 3
LONGEST_BASE = 60  # a socket's path may have 100 characters
REAPER_SECONDS = 60.0
REAPER = pytest.StashKey[subprocess.Popen[bytes]]()
SCRATCH = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--database`."""
    parser.addoption(
        "--database",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="the database of the tests; on postgres only the tests that use a database run",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Set the environment; this is a wrapper, so that it runs before pytest-django."""
    lengths.are_held()
    scratch = Path(tempfile.mkdtemp(prefix="podfleet-tests-", dir=scratch_base()))
    scratch.chmod(0o711)  # programs that run as another user have a folder inside
    early_config.stash[REAPER] = reaper.watch_over(scratch)
    early_config.stash[SCRATCH] = scratch
    for name in [name for name in os.environ if name.startswith("PODFLEET_")]:
        if name not in FOR_TESTS:
            del os.environ[name]
    os.environ[reaper.MARK] = str(scratch)
    os.environ["PODFLEET_VAR_DIR"] = str(scratch / "var")
    on_postgres = early_config.known_args_namespace.database == "postgres"
    os.environ["DATABASE_URL"] = (
        postgres_url(scratch) if on_postgres else f"sqlite:///{scratch / 'podfleet.sqlite3'}"
    )
    os.environ.setdefault(migrated.VARIABLE, str(scratch / "migrated.sqlite3"))
    embedded.url(scratch / "redis", first_choice=0)  # the usual port is left to a stack beside us
    os.environ["REDIS_URL"] = embedded.ensure_running(scratch / "redis")
    return (yield)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start a PostgreSQL server of our own, if a test needs it."""
    config = session.config
    wanted = config.getoption("--database") == "postgres" and session.items
    if wanted and not os.environ.get("TEST_DATABASE_URL") and not config.option.collectonly:
        scratch = config.stash[SCRATCH]
        _start_postgres(scratch / "postgres", postgres.usable_binaries(scratch / "pgwheel"))


def _start_postgres(folder: Path, binaries: Path) -> None:
    if migrated.is_shared("postgres"):
        database = urlsplit(os.environ["DATABASE_URL"]).path.removeprefix("/")
        migrated.copy_server(folder, binaries, database)
        postgres.run(folder, binaries)
    else:
        postgres.start(folder, binaries)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End everything that the run started, and wait for it."""
    started = config.stash.get(REAPER, None)
    if started is not None and started.stdin is not None:
        started.stdin.close()
        started.wait(REAPER_SECONDS)


@pytest.hookimpl(trylast=True)  # after `-k` and `-m`
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL run only the tests that may differ there; all of them run on SQLite."""
    if config.getoption("--database") == "postgres":
        chosen = for_postgres(items)
        names = {item.nodeid for item in chosen}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in names])
        items[:] = chosen


def for_postgres(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests that use a database; of a page, a command or the API only a few cases of each test.

    Those cases differ in their words and rarely in their queries.
    """
    using = [item for item in items if uses_database(item)]
    tests = defaultdict[str, list[pytest.Item]](list)
    for item in using:
        name = item.nodeid.partition("[")[0]
        if EDGES & set(name.split("/")):
            tests[name].append(item)
    more = {
        item.nodeid for cases in tests.values() for item in sorted(cases, key=place)[MOST_CASES:]
    }
    return [item for item in using if item.nodeid not in more]


def place(item: pytest.Item) -> list[int]:
    """Where a case stands among the cases of its test; the run itself is in random order."""
    case = getattr(item, "callspec", None)
    return list(case.indices.values()) if case is not None else []


def uses_database(item: pytest.Item) -> bool:
    """Whether a test uses the Django database, by its mark or by a fixture.

    Browser tests and tests with `one_database` do not count: they take minutes, and their results do
    not depend on the database.
    """
    if any(item.get_closest_marker(name) is not None for name in ("browser", "one_database")):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("django_db") is not None or bool(fixtures & DATABASE_FIXTURES)


def scratch_base() -> Path:
    """The base of temporary folders: a short path, which the server's user may enter."""
    others_must_pass = postgres.unprivileged() is not None
    for base in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        passable = all(folder.stat().st_mode & 0o001 for folder in (base, *base.parents))
        if len(str(base)) <= LONGEST_BASE and (passable or not others_must_pass):
            return base
    raise postgres.NoPostgres("no temporary folder that every user may enter; set TMPDIR to one")


def postgres_url(scratch: Path) -> str:
    """The address of the test database: on the server in TEST_DATABASE_URL, else on our own.

    Its name begins with test_, because the run makes it and drops it at its end.
    """
    given = os.environ.get("TEST_DATABASE_URL") or postgres.address(scratch / "postgres")
    parts = urlsplit(given)
    name = parts.path.removeprefix("/").removeprefix("test_")
    return urlunsplit(parts._replace(path=f"/test_{name}"))
