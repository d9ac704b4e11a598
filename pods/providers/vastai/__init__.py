"""Vast.ai, a market where an accepted offer becomes an instance."""

from pods.providers.vastai.provider import Vastai, connect

__all__ = ["Vastai", "connect"]
