"""Accounts, pods and their history in the admin: shows rows, calls verbs."""

from pods.admin import accounts, history, pods

__all__ = ["accounts", "history", "pods"]
