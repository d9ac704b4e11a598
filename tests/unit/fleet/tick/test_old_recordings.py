"""A decision can still be made from snapshots that older versions recorded."""

import base64
import json
import zlib
from decimal import Decimal
from typing import Any, Final

import pytest

from fleet.decision.decide import decide
from fleet.decision.values import NewPod, OfferFacts, ResumePod, Snapshot
from fleet.tick.recording import replayed
from pods.states import STOPPED
from tests.support.factories import NOON, hours, pod_facts, policy

# From a version in which an offer could mean a stopped pod: offers had a `pod_id`.
OLD: Final[dict[str, Any]] = {
    "now": "2026-11-23T12:00:00+00:00",
    "depth": 1000,
    "pending": 0,
    "depth_estimated": False,
    "unknown_because": "",
    "pods": [
        {
            "pod_id": 7,
            "state": "stopped",
            "hourly_usd": "0.5",
            "age": 7200.0,
            "idle_for": None,
            "in_flight": None,
            "items_per_second": None,
            "gpu_type": "RTX 4090",
            "gpu_count": 1,
            "account_id": 3,
            "ready_for": None,
            "stopped_hourly_usd": "0.004",
            "stopped_for": 3600.0,
            "million_items_usd": None,
        }
    ],
    "orphans": 0,
    "orphans_hourly_usd": "0",
    "offers": [
        {
            "account_id": 3,
            "key": "o1",
            "hourly_usd": "0.6",
            "gpu_type": "RTX 4090",
            "gpu_count": 1,
            "vram_gb": None,
            "region": "",
            "host": "",
            "interruptible": False,
            "reliability": None,
            "remaining": 32400.0,
            "stopped_hourly_usd": "0",
            "million_items_usd": None,
            "because": "RTX 4090 at $0.60/h",
            "pod_id": None,
        }
    ],
    "no_offers_because": "",
    "spent_today_usd": "1.25",
    "spent_total_usd": "0",
    "proven": True,
    "items_per_second": None,
    "boot_time": None,
    "may_end_ill": False,
    "waiting_for": None,
    "elsewhere": {"pods": 0, "hourly_usd": "0", "spent_today_usd": "0"},
}

OFFER: Final = OfferFacts(
    account_id=3,
    key="o1",
    hourly_usd=Decimal("0.6"),
    gpu_type="RTX 4090",
    gpu_count=1,
    remaining=hours(9),
    because="RTX 4090 at $0.60/h",
)
STOPPED_POD: Final = pod_facts(
    7,
    STOPPED,
    age=hours(2),
    stopped_hourly_usd=Decimal("0.004"),
    stopped_for=hours(1),
    gpu_type="RTX 4090",
    gpu_count=1,
    account_id=3,
)


def packed(raw: dict[str, Any]) -> dict[str, Any]:
    """The same snapshot in the format for many pods and offers."""
    rows = json.dumps({"pods": raw["pods"], "offers": raw["offers"]})
    rest = {name: value for name, value in raw.items() if name not in {"pods", "offers"}}
    return {**rest, "packed": base64.b85encode(zlib.compress(rows.encode())).decode()}


@pytest.mark.parametrize("raw", [OLD, packed(OLD)], ids=["plain", "packed"])
def test_an_old_recording_is_read_and_decided(raw: dict[str, Any]) -> None:
    seen = replayed(json.loads(json.dumps(raw)))
    assert seen == Snapshot(
        now=NOON,
        depth=1000,
        pods=(STOPPED_POD,),
        offers=(OFFER,),
        spent_today_usd=Decimal("1.25"),
    )
    decision = decide(seen, policy(spawn_per_tick=2))
    why = "stopped pod 7 runs again at $0.50/h: the best new pod is not cheaper at $0.60/h"
    assert decision.spawn == (NewPod(offer=OFFER),)
    assert decision.resume == (ResumePod(pod_id=7, hourly_usd=Decimal("0.496"), because=why),)
