"""The GPUs that the emulated RunPod rents out."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(slots=True, kw_only=True)
class GpuType:
    """A type in the catalog, and how many are free at each (cloud, data center)."""

    id: str
    name: str
    memory: int
    secure_usd: Decimal
    community_usd: Decimal
    stock: dict[tuple[str, str], int]
    max_count: int = 8

    def price(self, cloud: str) -> Decimal:
        """USD/hour of one GPU."""
        return self.secure_usd if cloud == "SECURE" else self.community_usd

    def place(self, cloud: str, count: int, wanted: Sequence[str] | None) -> str | None:
        """A data center with enough free GPUs. Like the real service it obeys `dataCenterIds`."""
        return next(
            (
                place
                for (tier, place), free in self.stock.items()
                if tier == cloud and free >= count and (not wanted or place in wanted)
            ),
            None,
        )


def default_catalog() -> list[GpuType]:
    """A small market with prices of 2026 and invented stock."""
    return [
        GpuType(
            id="NVIDIA GeForce RTX 4090",
            name="RTX 4090",
            memory=24,
            secure_usd=Decimal("0.69"),
            community_usd=Decimal("0.34"),
            stock={
                ("COMMUNITY", "EU-RO-1"): 4,
                ("COMMUNITY", "US-TX-3"): 2,
                ("SECURE", "EU-RO-1"): 8,
            },
        ),
        GpuType(
            id="NVIDIA RTX A5000",
            name="RTX A5000",
            memory=24,
            secure_usd=Decimal("0.26"),
            community_usd=Decimal("0.16"),
            stock={("COMMUNITY", "US-TX-3"): 3, ("SECURE", "CA-MTL-1"): 6},
        ),
        GpuType(
            id="NVIDIA H100 80GB HBM3",
            name="H100 SXM",
            memory=80,
            secure_usd=Decimal("2.69"),
            community_usd=Decimal("2.49"),
            stock={("SECURE", "US-KS-2"): 16},
        ),
    ]
