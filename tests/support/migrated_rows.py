"""Makes the rows of the migrations again after a test that emptied every table.

A test with `transaction=True` commits, and pytest-django empties all tables after it. The schedules,
the roles and the limits, which migrations make, are then missing for whatever test comes next in the
process.
"""

from collections.abc import Generator
from importlib import import_module
from typing import Final

import pytest
from django.apps import apps
from pytest_django.plugin import blocking_manager_key

SCHEDULES: Final = (
    "pods.migrations.0002_schedule",
    "fleet.migrations.0004_operating",
    "fleet.migrations.0023_datasets",
    "fleet.migrations.0029_batches",
    "fleet.migrations.0034_forecasts",
    "fleet.migrations.0039_shadows_and_samples",
    "fleet.migrations.0044_keys_by_a_task",
)
COMMITS: Final = frozenset({"transactional_db", "live_server"})  # fixtures


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Make the rows again once the fixtures of the test have ended; after the last test no database
    is left.
    """
    yield
    if nextitem is not None and commits(item):
        with item.config.stash[blocking_manager_key].unblock():
            make()


def commits(item: pytest.Item) -> bool:
    """Whether the test writes for real, so that every table is emptied after it."""
    mark = item.get_closest_marker("django_db")
    marked = mark is not None and mark.kwargs.get("transaction", False)
    return marked or bool(COMMITS & set(getattr(item, "fixturenames", ())))


def make() -> None:
    """Make the periodic tasks, the roles and the limits that are missing."""
    from fleet.models import Limits  # Django's settings are read by now
    from fleet.roles import make_groups

    for name in SCHEDULES:
        import_module(name).make_schedule(apps, None)
    make_groups(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))
    Limits.made()
