"""The words of a fleet's health, and its texts from outside; amounts: pods/base/words.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fleet.decision.alert_facts import Severity
from fleet.decision.fleet_health import Health
from fleet.decision.values import Mode
from fleet.models.batches import BatchStatus
from pods.base.words import (
    NONE,
    duration,
    items,
    per_second,
    percent,
    time_left,
    unit_price,
    unknown,
    usd,
    when,
)

__all__ = [
    "ARCHIVED", "HEALTH", "MODES", "NONE", "SEVERITIES", "depth", "duration", "items", "per_second",
    "percent", "printable", "spaced", "tail", "time_left", "unit_price", "unknown", "usd", "when",
]  # fmt: skip

LONGEST_TAIL: Final = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthWords:
    """How a health is shown: icon, word and colour always together."""

    icon: str
    word: str
    tone: str  # a colour of podfleet.css
    style: str  # of rich


def _shown(icon: str, word: str, tone: str, style: str) -> HealthWords:
    return HealthWords(icon=icon, word=word, tone=tone, style=style)


HEALTH: Final[Mapping[Health, HealthWords]] = {
    Health.CANNOT_END: _shown("✖", "Cannot end a pod", "red", "bold red"),
    Health.UNATTENDED: _shown("✖", "Not looked after", "red", "bold red"),
    Health.FAILING: _shown("✖", "Failing", "red", "bold red"),
    Health.UNKNOWN: _shown("?", "Unknown", "amber", "yellow"),
    Health.MONEY_OUT: _shown("▲", "Money out before done", "amber", "yellow"),
    Health.LATE: _shown("▲", "Late", "amber", "yellow"),
    Health.HELD: _shown("◐", "Held", "blue", "blue"),
    Health.STARTING: _shown("◐", "Starting", "blue", "blue"),
    Health.WORKING: _shown("●", "Working", "green", "green"),
    Health.PAUSED: _shown("‖", "Paused", "grey", "dim"),
    Health.STOPPED: _shown("■", "Stopped", "grey", "dim"),
    Health.IDLE: _shown("○", "Idle", "grey", "dim"),
}

# The states of other things, in the same looks.
SEVERITIES: Final[Mapping[str, HealthWords]] = {
    Severity.CRITICAL.value: _shown("✖", "Critical", "red", "bold red"),
    Severity.WARNING.value: _shown("▲", "Warning", "amber", "yellow"),
    Severity.INFO.value: _shown("○", "Info", "grey", "dim"),
}
MODES: Final[Mapping[str, HealthWords]] = {
    Mode.RUNNING.value: _shown("●", "Running", "green", "green"),
    Mode.PAUSED.value: HEALTH[Health.PAUSED],
    Mode.STOP_ALL.value: HEALTH[Health.STOPPED],
}
BATCHES: Final[Mapping[str, HealthWords]] = {
    BatchStatus.VALIDATING.value: _shown("◐", "Validating", "blue", "blue"),
    BatchStatus.IN_PROGRESS.value: _shown("●", "In progress", "green", "green"),
    BatchStatus.FINALIZING.value: _shown("◐", "Finalizing", "blue", "blue"),
    BatchStatus.CANCELLING.value: _shown("◐", "Cancelling", "blue", "blue"),
    BatchStatus.COMPLETED.value: _shown("✓", "Completed", "grey", "dim"),
    BatchStatus.CANCELLED.value: _shown("■", "Cancelled", "grey", "dim"),
    BatchStatus.EXPIRED.value: _shown("▲", "Expired", "amber", "yellow"),
    BatchStatus.FAILED.value: _shown("✖", "Failed", "red", "bold red"),
}
ARCHIVED: Final = _shown("✓", "Archived", "grey", "dim")


def depth(count: int | None, *, estimated: bool = False) -> str:
    """`12,345`, `about 12,345`, `unknown`."""
    if count is None:
        return "unknown"
    return f"{'about ' if estimated else ''}{count:,}"


def spaced(name: str) -> str:
    """`stop_all` as `stop all`."""
    return name.replace("_", " ")


def printable(text: str, *, lines: bool = False) -> str:
    """Text from outside, with its control characters written out; `lines`: it keeps its lines."""
    return "".join(
        c if c.isprintable() or (lines and c in "\n\t") else c.encode("unicode_escape").decode()
        for c in text
    )


def tail(text: str) -> str:
    """The end of a long text from outside, with its lines: the end of a traceback says the most."""
    cut = text[-LONGEST_TAIL:]
    return printable(f"…{cut}" if len(cut) < len(text) else cut, lines=True)
