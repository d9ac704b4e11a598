"""What the tests of simulated days share."""

import logging
from collections.abc import Iterator

import pytest

LOUD = ("pods", "fleet", "stamina")


@pytest.fixture
def quiet() -> Iterator[None]:
    """No lines about the faults of a day; the tests after it log as before."""
    loggers = [logging.getLogger(name) for name in LOUD]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
