"""After several losses of interruptible pods a fleet rents on demand, within the ceiling."""

from decimal import Decimal
from pathlib import Path

import pytest

from pods.models import Pod
from pods.states import ENDED
from tests.support.emulated_market import market

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.mark.fault(22)
@pytest.mark.fault(23)
def test_after_three_losses_within_an_hour_on_demand_fills_the_gap(
    tmp_path: Path, redis_url: str
) -> None:
    with market(tmp_path, redis_url, community=0, max_hourly_usd=Decimal(1)) as made:
        slot, *others = made.vast.market.slots
        for other in others:
            other.listed = False
        entries = made.enqueue(400, 0.2)
        for _ in range(3):
            made.survey()
            working = Pod.objects.filter(interruptible=True, state="ready", done__gt=0)
            pod = made.until(working.first)
            with made.vast_server.lock:
                made.vast.market.rival_bids(slot, Decimal(100))
            made.until(lambda pk=pod.pk: Pod.objects.filter(pk=pk, state="lost").exists())
            with made.vast_server.lock:
                made.vast.market.rival_leaves(slot)
        made.survey()
        sure = made.until(Pod.objects.filter(interruptible=False, state="ready", done__gt=0).first)
        assert Decimal("0.8") <= sure.hourly_usd <= 1
        assert Pod.objects.filter(interruptible=True).count() == 3
        made.until(lambda: set(made.results()) == set(entries))
        made.until(lambda: not Pod.objects.exclude(state__in=ENDED).exists())
        assert made.vast.market.bill.hourly_usd() == 0
