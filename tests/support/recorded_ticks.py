"""Recorded ticks of a fleet, for what compares them with other settings."""

from datetime import timedelta
from decimal import Decimal

from fleet.decision.values import OfferFacts, PodFacts, Snapshot
from fleet.models import Fleet, Limits, Tick
from fleet.tick.policies import policy_of
from fleet.tick.recording import recorded, recorded_policy
from pods.base.clock import utcnow
from pods.states import READY

PERIOD = timedelta(seconds=15)
PRICE = Decimal("3.6")


def an_hour(fleet: Fleet, *, policy: bool = True) -> None:
    """240 ticks with one pod that does 1 item/s of 3,000, up to now."""
    began = utcnow() - 241 * PERIOD
    pod = PodFacts(
        pod_id=1, state=READY, hourly_usd=PRICE, age=timedelta(hours=1), gpu_type="L4",
        account_id=1, offer_key="small", ready_for=timedelta(hours=1), items_per_second=1.0,
    )  # fmt: skip
    offer = OfferFacts(account_id=1, key="small", hourly_usd=PRICE, gpu_type="L4")
    rules = recorded_policy(policy_of(fleet, Limits.get(), began)) if policy else {}
    rows = []
    for n in range(241):
        seen = Snapshot(
            now=began + n * PERIOD, depth=max(0, 3000 - 15 * n), pods=(pod,), offers=(offer,),
            items_per_second=1.0, boot_time=timedelta(minutes=2),
        )  # fmt: skip
        rows.append(
            Tick(
                fleet=fleet, at=seen.now, token=n, depth=seen.depth, active=1, desired=1, target=1,
                sentence="keeps 1 pod", snapshot=recorded(seen), policy=rules,
            )
        )  # fmt: skip
    Tick.objects.bulk_create(rows)
