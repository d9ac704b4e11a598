"""The hosts that the emulated Vast.ai rents out: like those of the real market, at invented prices."""

import random
from decimal import Decimal
from typing import Final

from pods.emulators.vastai_state import Market

# Name, MB of one GPU, USD/h of one GPU, and how many of a hundred hosts have it.
GPUS: Final = (
    ("RTX 3090", 24_576, "0.16", 22),
    ("RTX 4090", 24_564, "0.34", 30),
    ("RTX 5090", 32_607, "0.48", 12),
    ("L40S", 46_068, "0.62", 8),
    ("A100 SXM4", 81_920, "0.85", 10),
    ("H100 SXM", 81_559, "1.95", 10),
    ("H200", 143_771, "2.40", 8),
)
PLACES: Final = (
    "Quebec, CA",
    "Texas, US",
    ", US",
    "Bavaria, DE",
    "Stockholm, SE",
    "Oslo, NO",
    None,
)


def stock(market: Market, *, hosts: int = 100, seed: int = 7) -> None:
    """Fill the market with this many slices of machines. The same seed gives the same market."""
    dice = random.Random(seed)
    for _ in range(hosts):
        name, memory, usd, _ = dice.choices(GPUS, weights=[gpu[3] for gpu in GPUS])[0]
        count = dice.choice((1, 1, 1, 2, 4, 8))
        price = Decimal(usd) * count * Decimal(dice.randint(85, 140)) / 100
        market.add_slot(
            gpu_name=name,
            usd=str(price.quantize(Decimal("0.0001"))),
            num_gpus=count,
            gpu_ram=memory,
            storage_usd=Decimal(dice.choice(("0.10", "0.15", "0.20", "0.33"))),
            disk_space=float(dice.randint(30, 2000)),
            geolocation=dice.choice(PLACES),
            reliability=round(1 - dice.random() ** 3 / 10, 4),
            verification=dice.choices(("verified", "unverified"), weights=(4, 1))[0],
            cuda=dice.choice((12.2, 12.4, 12.8, 13.0)),
        )


def crowd(market: Market, *, cheap: int = 730, dear: int = 20) -> None:
    """Fill the market with many old cards, and with a few H100 that are dearer than all of them.

    So is the real market: a survey of its cheap end never comes to the cards that fleets want.
    """
    for number in range(cheap):
        usd = Decimal("0.05") + Decimal(number) / 10_000
        market.add_slot(gpu_name="GTX 1070", usd=str(usd), gpu_ram=8_192)
    for number in range(dear):
        usd = Decimal("1.95") + Decimal(number) / 100
        market.add_slot(gpu_name="H100 SXM", usd=str(usd), gpu_ram=81_559)
