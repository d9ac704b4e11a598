"""Snapshots and policies of fleets with a goal, on a market with one offer of each kind."""

from decimal import Decimal
from typing import Any, Final

from fleet.decision.values import Decision, Goal, Policy, Snapshot
from tests.support.factories import NOON, hours, offer_facts, pod_facts, policy, seconds, snapshot

SPOT: Final = Decimal("0.92")
FIRM: Final = Decimal("3.06")


def offers(spot: int = 8, firm: int = 8, **values: Any) -> tuple[Any, ...]:
    """Offers as a survey gives them: each as often as it may be rented."""
    cheap = offer_facts("spot", hourly_usd=SPOT, interruptible=True, **values)
    return (cheap,) * spot + (offer_facts("firm", hourly_usd=FIRM),) * firm


def on(offer: str, number: int, first: int = 1, **values: Any) -> list[Any]:
    """Working pods on an offer."""
    cheap = offer == "spot"
    works: dict[str, Any] = {"in_flight": 4, "items_per_second": 10.0, "ready_for": hours(1)}
    usd = SPOT if cheap else FIRM
    its: dict[str, Any] = {"hourly_usd": usd, "interruptible": cheap, "offer_key": offer}
    return [pod_facts(first + n, account_id=1, **{**works, **its, **values}) for n in range(number)]


def seen(pod_hours: float = 80, **values: Any) -> Snapshot:
    known: dict[str, Any] = {
        "usual_items_per_second": 10.0,
        "boot_time": seconds(300),
        "boot_bound": seconds(480),
        "spot_hourly_usd": SPOT,
        "offers": offers(),
    }
    return snapshot(round(pod_hours * 36_000), **{**known, **values})


def by(left: float = 24, **values: Any) -> Policy:
    its: dict[str, Any] = {"goal": Goal.DEADLINE, "drain_by": NOON + hours(left)}
    return policy(**{"max_instances": 8, "spawn_per_tick": 4, **its, **values})


def within(usd: str, **values: Any) -> Policy:
    its: dict[str, Any] = {"goal": Goal.BUDGET, "budget_usd": Decimal(usd)}
    return policy(**{"max_instances": 8, "spawn_per_tick": 4, **its, **values})


def rented(decision: Decision) -> list[str]:
    return [start.offer.key for start in decision.spawn]
