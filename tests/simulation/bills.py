"""S12: the ledger of each machine against the vendor's bill for it."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final

from pods.models import MICROS, Pod, PodEvent, PriceSegment
from pods.states import ENDED
from tests.simulation.limits import Violated, cost
from tests.simulation.vendors import Vendor

UNDER_COUNTED: Final = timedelta(seconds=50)  # a tick and a step (33 s while a worker is frozen)
OVER_COUNTED: Final = timedelta(minutes=30)  # it takes time to notice that a machine is gone


def check_bills(vendors: Mapping[str, Vendor], *, slack: timedelta, unnoticed: timedelta) -> None:
    """Compare the ledger of each ended pod with the bill of its machine.

    `slack`: by how much the times that two hosts wrote may differ. `unnoticed`: for how long no beat
    was there to notice an end. A machine that was found without a row is booked from its first sight
    on, so its ledger may be below the bill.

    Raises:
        Violated: with the invariant's name.
    """
    found = set(PodEvent.objects.filter(by="reconcile", before="").values_list("pod_id", flat=True))
    booked: dict[int, Decimal] = {}
    highest_usd: dict[int, Decimal] = {}  # the highest price, to turn a difference into seconds
    for pk, micros, usd in PriceSegment.objects.exclude(until=None).values_list(
        "pod_id", "cost_micros", "hourly_usd"
    ):
        booked[pk] = booked.get(pk, Decimal(0)) + Decimal(micros) / MICROS
        highest_usd[pk] = max(highest_usd.get(pk, Decimal(0)), usd)
    for pod in Pod.objects.filter(state__in=[s.value for s in ENDED]).exclude(external_id=None):
        vendor = vendors[pod.provider]
        if pod.external_id in vendor.misreported or vendor.hidden(str(pod.external_id)):
            continue
        price = highest_usd.get(pod.pk, pod.hourly_usd)
        bill, ledger = vendor.billed_usd(str(pod.external_id)), booked.get(pod.pk, Decimal(0))
        if bill - ledger > cost(price, UNDER_COUNTED + slack) and pod.pk not in found:
            raise Violated(
                f"S12: pod {pod.pk} was billed ${bill:.5f}, the ledger has ${ledger:.5f}"
            )
        if ledger - bill > cost(price, OVER_COUNTED + unnoticed + slack):
            raise Violated(
                f"S12: the ledger has ${ledger:.5f} for pod {pod.pk}, billed ${bill:.5f}"
            )
