"""Fleets, decisions and alerts in the admin: shows rows, calls verbs."""

from fleet.admin import (
    accounts,
    activity,
    alerts,
    batches,
    channels,
    decisions,
    fleets,
    limits,
    overrides,
    tokens,
)

__all__ = [
    "accounts",
    "activity",
    "alerts",
    "batches",
    "channels",
    "decisions",
    "fleets",
    "limits",
    "overrides",
    "tokens",
]
