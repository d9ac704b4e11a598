"""What people call the things that a fleet asks of an offer, with their values. Pure."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from pods.amounts import usd
from pods.durations import lasting

WISHES: Final[Mapping[str, str]] = {
    "gpu_types": "GPU",
    "gpu_count": "GPUs of a pod",
    "min_vram_gb": "Min. VRAM",
    "max_hourly_usd": "Top price of a pod",
    "regions": "Regions",
    "interruptible": "Pods that a vendor may take away",
    "min_reliability": "Min. reliability",
    "min_remaining": "Can be rented for at least",
    "disk_gb": "Disk",
}


def wish_text(name: str, value: Any) -> str:
    """`GPU H100 or A100`, `Disk 40 GB`, `Top price of a pod $0.50/h`."""
    return f"{WISHES.get(name, name)} {_said(name, value)}"


def _said(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "min_remaining":  # seconds, where it was stored
        return lasting(value if isinstance(value, timedelta) else timedelta(seconds=value))
    if name.endswith("_usd"):
        return f"{usd(Decimal(str(value)))}/h"
    if name.endswith("_gb"):
        return f"{value} GB"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " or ".join(map(str, value))
    return str(value)
