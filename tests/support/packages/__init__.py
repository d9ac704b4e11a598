"""Modules of packages that a test installs: copied, never imported from here."""
