"""RunPod, by its REST API v2."""

from collections.abc import Mapping
from typing import Any

from pods.providers.base import Provider
from pods.providers.http import VendorHttp
from pods.providers.runpod.api import RunPod
from pods.providers.runpod.options import Options

__all__ = ["connect"]


def connect(*, options: Mapping[str, Any], secret: str | None) -> Provider:
    """The adapter of one account at RunPod.

    Raises:
        ValueError: an option or the key is wrong; the message says what would be right.
    """
    chosen = Options.parse(options)
    if not secret:
        raise ValueError("runpod needs an API key: make one in the console's settings, and name it")
    return RunPod(VendorHttp(base_url=chosen.base_url, secret=secret), chosen)
