"""Fleets, decisions and alerts in the admin: shows rows, calls verbs."""

from fleet.admin import accounts, alerts, channels, decisions, fleets, limits, overrides

__all__ = ["accounts", "alerts", "channels", "decisions", "fleets", "limits", "overrides"]
