"""Why accounts give a fleet no offer."""

from dataclasses import dataclass
from enum import StrEnum


class Lack(StrEnum):
    """Why an account gives a fleet no offer now."""

    DISABLED = "disabled"
    LEFT_ALONE = "left_alone"  # its circuit breaker is open
    NOT_SURVEYED = "not_surveyed"
    TOO_OLD = "too_old"  # its offers were read too long ago
    NOTHING_OFFERED = "nothing_offered"
    ALL_TAKEN = "all_taken"  # their hosts were rented since they were read
    NONE_FITS = "none_fits"
    AVOIDED = "avoided"  # each one that fits failed lately, or waits for a first pod


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLack:
    """An account of a fleet without an offer for it, and why."""

    account_id: int
    account: str  # its name
    lack: Lack
    because: str
