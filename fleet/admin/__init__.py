"""Fleets, decisions and alerts in the admin: shows rows, calls verbs."""

from fleet.admin import alerts, decisions, fleets, limits, overrides

__all__ = ["alerts", "decisions", "fleets", "limits", "overrides"]
