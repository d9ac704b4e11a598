"""Offers that an older version stored in an account's row can still be read."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from pods.accounts.surveying import packed, unpacked
from pods.providers.base import Offer

GOLDEN = Path(__file__).parent / "golden" / "offers.json"
OFFERS = [
    Offer(
        key="12",
        hourly_usd=Decimal("0.123456"),
        gpu_type="RTX 4090",
        gpu_count=2,
        vram_gb=24,
        region="EU",
        interruptible=True,
        reliability=0.987,
        host="77",
        remaining=timedelta(days=3, seconds=0.5),
        stopped_hourly_usd=Decimal("0.01"),
        disk_gb=10,
        gb_hourly_usd=Decimal("0.0002"),
    ),
    # stored before disks had their own price
    Offer(key="free", hourly_usd=Decimal(0), stopped_hourly_usd=Decimal(0)),
]


def test_offers_of_an_older_version_are_read_field_by_field() -> None:
    kept = json.loads(GOLDEN.read_text())
    assert "gb_hourly_usd" not in kept[1]
    assert [unpacked(values) for values in kept] == OFFERS


def test_an_offer_is_stored_as_json_values_and_read_again() -> None:
    for offer in OFFERS:
        assert unpacked(json.loads(json.dumps(packed(offer)))) == offer
    # The fields of an older version have kept their names and their form.
    assert packed(OFFERS[0]).items() >= json.loads(GOLDEN.read_text())[0].items()


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert unpacked({**packed(OFFERS[1]), "of_a_newer_version": 1}) == OFFERS[1]
