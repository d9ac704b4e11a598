"""Accounts and pods in the admin, which shows rows and calls verbs."""

from pods.admin import accounts, orphans, pods

__all__ = ["accounts", "orphans", "pods"]
