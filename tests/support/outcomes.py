"""Writes which tests failed and which passed to a file, for `tests.support.both_databases`.

This is a pytest plugin that is loaded with `-p`; `--outcomes FILE` names the file.
"""

import json
from pathlib import Path
from typing import Final

import pytest

OPTION: Final = "--outcomes"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--outcomes`."""
    parser.addoption(OPTION, type=Path, metavar="FILE", help="write each test's outcome to a file")


def pytest_configure(config: pytest.Config) -> None:
    """Note the outcomes of the whole run; a process of pytest-xdist sees only its own share."""
    place = config.getoption(OPTION)
    if place is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Notes(place))


def read(place: Path) -> dict[str, bool]:
    """Whether each test passed, by its address; empty if the run wrote no file.

    A skipped test is left out. A file that cannot be imported counts as a failed test.
    """
    return dict(json.loads(place.read_bytes())) if place.exists() else {}


class _Notes:
    def __init__(self, place: Path) -> None:
        self._place = place
        self._passed: dict[str, bool] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._passed[report.nodeid] = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:  # also in a fixture, or because its process ended
            self._passed[report.nodeid] = False
        elif report.when == "call" and report.passed:
            self._passed.setdefault(report.nodeid, True)

    def pytest_sessionfinish(self) -> None:
        self._place.write_text(json.dumps(self._passed))
