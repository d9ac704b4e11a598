"""Makes the time limit of a test grow with the load of the machine, as its waits do."""

from typing import Any

import pytest
import pytest_timeout

from tests.support.waiting import patience


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Set pytest-timeout's timer to more seconds on a busy machine."""
    longest = settings._replace(timeout=patience(settings.timeout))
    done: bool = pytest_timeout.pytest_timeout_set_timer(item, longest)
    return done
