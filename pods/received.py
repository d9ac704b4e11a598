"""Compares the machine that a provider gave with the one that was ordered. Pure."""

from dataclasses import dataclass
from typing import Final

from pods.catalogue import gpus
from pods.plural import plural

# Vendors count a GB in their own way: 10.08 of 10 was seen, and 9.3 GiB are 10 GB.
DISK_SLACK: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """What a pod's row says was ordered. 0 and "": nothing was said, so all is right."""

    gpu_type: str = ""
    gpu_count: int = 0
    disk_gb: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What the provider says about the machine. None and "": it does not say."""

    gpu_type: str = ""
    gpu_count: int | None = None
    disk_gb: int | None = None


def shortfall(ordered: Ordered, received: Received) -> str:
    """What the machine lacks of the order; empty if it is as good as ordered, as far as is known."""
    if received.gpu_count is not None and received.gpu_count < ordered.gpu_count:
        return f"{plural(received.gpu_count, 'GPU')} instead of {plural(ordered.gpu_count, 'GPU')}"
    if gpus.differ(ordered.gpu_type, received.gpu_type):
        return f"{received.gpu_type} instead of {ordered.gpu_type}"
    if received.disk_gb is not None and received.disk_gb < ordered.disk_gb * DISK_SLACK:
        return f"{received.disk_gb} GB of disk instead of {ordered.disk_gb} GB"
    return ""
