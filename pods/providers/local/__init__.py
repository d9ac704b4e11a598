"""Pods that are processes on this machine. They work like rented ones, and cost nothing."""

from pods.providers.local.provider import LocalProvider, connect

__all__ = ["LocalProvider", "connect"]
