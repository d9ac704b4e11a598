"""A fleet on two vendors drains its backlog although both vendors have faults."""

from decimal import Decimal
from pathlib import Path

import pytest

from fleet.money import ledger
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Orphan, Pod
from pods.states import ENDED
from tests.support.emulated_market import TICK, Market, market
from tests.support.rigs.runpod_rig import PODS
from tests.support.waiting import patience

# Real time passes, and other tests make the queries on PostgreSQL.
pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

ITEMS = 1200


def on_spot(made: Market) -> list[Pod]:
    """The working pods that Vast.ai may take away."""
    return list(
        Pod.objects.filter(provider="vastai", interruptible=True, state="ready", done__gt=0)
    )


@pytest.mark.fault(7)
@pytest.mark.fault(10)
@pytest.mark.fault(22)
@pytest.mark.fault(23)
@pytest.mark.takes(30)
def test_no_item_is_lost_no_pod_leaks_and_the_ledger_is_what_both_vendors_bill(
    tmp_path: Path, redis_url: str
) -> None:
    # Enough at once that Vast.ai is asked before a boot is measured: here the clock runs fast, so that
    # a boot looks longer than the backlog.
    with market(tmp_path, redis_url, max_instances=6, spawn_per_tick=5) as made:
        made.survey()
        entries = made.enqueue(ITEMS, 0.2)
        # One create answers with an error, but the pod exists and bills.
        error = Reply(status=500, json={"title": "Internal Server Error", "status": 500})
        made.runpod_server.faults.answer_after("POST", PODS, error)
        # RunPod has three machines; the next pods are at Vast.ai.
        outbid = made.until(lambda: on_spot(made)[:2] if len(on_spot(made)) >= 2 else None)
        with made.runpod_server.lock:
            working = Pod.objects.filter(provider="runpod", state="ready")
            made.runpod.vanish(str(working[0].external_id))
            stock = made.runpod.catalog[0].stock
            stock.update(dict.fromkeys(stock, 0))  # and another takes its place
        with made.vast_server.lock:
            for pod in outbid:
                made.vast.market.rival_bids(made.contract(pod).slot, Decimal(100))
        made.until(lambda: set(made.results()) == set(entries))
        made.until(lambda: not Pod.objects.exclude(state__in=ENDED).exists())

        assert made.redis.xpending(made.fleet.stream, made.fleet.group)["pending"] == 0
        assert made.runpod.living() == []
        assert made.vast.market.bill.hourly_usd() == made.runpod.bill.hourly_usd() == 0
        assert not Orphan.objects.filter(gone_at=None).exists()
        for pod in outbid:
            pod.refresh_from_db()
            assert (pod.state, pod.lost_because[:15]) == ("lost", "stopped unasked")
        # Offers that were rented since the survey are not requested again, so Vast.ai refused none.
        assert not Pod.objects.filter(provider="vastai", state="failed").exists()
        refused = Pod.objects.filter(provider="runpod", state="failed")
        assert [p.because[:10] for p in refused] == ["NoCapacity"] * len(refused)
        assert refused
        rented = list(Pod.objects.exclude(external_id=None))
        assert {p.external_id for p in rented} == {
            *made.runpod.bill.machines(),
            *made.vast.market.bill.machines(),
        }
        for pod in rented:
            # A change is seen within a tick, and on a loaded machine later.
            tick_usd = pod.hourly_usd * Decimal(patience(TICK.total_seconds())) / 3600
            assert abs(made.booked(pod) - made.billed(pod)) <= tick_usd, (pod.provider, pod.because)
        today = clock.utcnow().date()
        spent = sum(e.usd for e in ledger.day_costs(today.replace(day=1), today))
        assert spent == sum(made.booked(pod) for pod in rented)
