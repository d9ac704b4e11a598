"""How much attention a fleet needs: the first page shows the fleets in this order. Pure."""

from enum import IntEnum

from fleet.decision.alert_facts import Severity
from fleet.decision.values import Mode


class Standing(IntEnum):
    """How a fleet stands, the most urgent first."""

    CRITICAL = 0
    WARNING = 1
    WORKING = 2
    IDLE = 3
    PAUSED = 4


def standing(
    *, worst: Severity | None, late: bool, mode: Mode, depth: int | None, pods: int
) -> Standing:
    """How a fleet stands.

    `worst`: the worst of its alerts that nobody has answered; `late`: no decision for several
    periods; `depth`: items that wait, None if that is unknown; `pods`: those that may bill.
    """
    if worst is Severity.CRITICAL or late:
        return Standing.CRITICAL
    if worst is Severity.WARNING or (depth is None and mode is Mode.RUNNING):
        return Standing.WARNING
    if mode is not Mode.RUNNING:
        return Standing.PAUSED
    return Standing.WORKING if pods or depth else Standing.IDLE
