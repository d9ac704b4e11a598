"""Prints, at the end of a run, one line for each reason of skipped tests, with their number."""

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the lines. With `-ra` or `-rs` pytest also writes a line for each place."""
    reasons = Counter(reason_of(report) for report in terminalreporter.getreports("skipped"))
    if not reasons:
        return
    terminalreporter.section("why tests were skipped")
    for reason, count in sorted(reasons.items(), key=lambda found: (-found[1], found[0])):
        terminalreporter.write_line(f"{count:4d}  {reason}")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skip, on one line."""
    if isinstance(report.longrepr, tuple):
        return " ".join(report.longrepr[2].removeprefix("Skipped: ").split())
    return " ".join(str(report.longrepr).split())
