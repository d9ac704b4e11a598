"""Emulated vendors, on which a fleet can be tried without money (`manage.py emulate`)."""
