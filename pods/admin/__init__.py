"""Accounts, pods and their history in the admin, which shows rows and calls verbs."""

from pods.admin import accounts, history, orphans, pods

__all__ = ["accounts", "history", "orphans", "pods"]
