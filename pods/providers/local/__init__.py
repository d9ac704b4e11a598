"""Pods as processes of this machine: real in every respect but the rent."""

from pods.providers.local.provider import LocalProvider, connect

__all__ = ["LocalProvider", "connect"]
