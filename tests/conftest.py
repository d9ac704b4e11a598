"""What all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.db import connections
from django.test import override_settings
from hypothesis import HealthCheck, settings

from pods import dispatch
from tests.support import migrated
from tests.support.examples import examples

# Their assertions say what they compared, as those of a test do.
pytest.register_assert_rewrite(
    "tests.support.rigs",
    "tests.support.installation",
    "tests.support.world",
    "tests.contract.provider_contract",
    "tests.contract.vendor_contract",
)

# A busy machine is not a fault of the code. A test that looks for slow code measures it in a benchmark.
settings.register_profile(
    "podfleet",
    deadline=None,
    max_examples=examples(),
    suppress_health_check=[HealthCheck.too_slow],
)
if settings.get_current_profile_name() == "default":
    settings.load_profile("podfleet")


@pytest.fixture
def redis_url() -> Iterator[str]:
    """The address of a clean database on a real Valkey, without users but the default one."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"], protocol=2, decode_responses=True)
    _empty(client)
    yield os.environ["REDIS_URL"]
    _empty(client)
    client.close()


def _empty(client: redis.Redis) -> None:
    client.flushall()
    users = [name for name in map(str, client.acl_users()) if name != "default"]
    if users:
        client.acl_deluser(*users)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """The test database is the one that DATABASE_URL names: processes that a test starts share it."""
    settings = connections["default"].settings_dict
    settings["TEST"]["NAME"] = settings["NAME"]


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """Whether the test database exists: it may be a copy of the one that the processes share."""
    connection = connections["default"]
    if connection.vendor == "postgresql":
        server = connection.settings_dict["HOST"]  # the folder of its socket, if it is our own
        return django_db_keepdb or migrated.was_copied_to(Path(server))
    if not migrated.is_shared("sqlite3"):
        return django_db_keepdb
    migrated.copy_file(Path(connection.settings_dict["NAME"]))
    return True


@pytest.fixture(scope="session", autouse=True)
def quick_password_hashes() -> Iterator[None]:
    """Passwords are hashed in no time: a hash for production takes a third of a second, on purpose."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(autouse=True)
def no_outbox_left_open() -> Iterator[None]:
    """Fail the test that leaves an outbox open: the tests after it would send no task."""
    yield
    left = dispatch._open.get()
    dispatch._open.set(None)
    assert left is None, "the test left an outbox open"
