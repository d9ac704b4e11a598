"""Fleets, decisions and alerts in the admin: shows rows, calls verbs."""

from fleet.admin import alerts, decisions, fleets

__all__ = ["alerts", "decisions", "fleets"]
