"""The installation's limits hold over all fleets, also when several fleets tick at once."""

import threading
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
import redis
from django.db import connections

from fleet import operating
from fleet.decision.values import Decision
from fleet.models import Fleet, Limits, Tick
from fleet.tick import requesting, ticking
from pods.base import clock
from pods.models import Orphan, Pod
from pods.states import READY
from tests.support.factories import OFFER, a_fleet, a_pod, an_account
from tests.support.waiting import patience

LIMITS = [
    ("max_instances", 1),
    ("max_hourly_usd", Decimal("0.5")),
    ("daily_budget_usd", Decimal("0.6")),
]


@pytest.fixture(autouse=True)
def _nothing_is_sent() -> Any:
    with mock.patch("pods.dispatch.current_app.send_task"):
        yield


def fleets(redis_url: str, count: int) -> list[Fleet]:
    """Fleets at one account, each with a long backlog and a template that has worked before."""
    made = []
    account = an_account(offers=[OFFER], surveyed_at=clock.utcnow())
    client = redis.Redis.from_url(redis_url, protocol=2)
    for n in range(count):
        fleet = a_fleet(
            accounts=[account], name=f"emb-{n}", max_instances=5, target_depth_per_pod=10,
            stream=f"s{n}", group="g",
        )  # fmt: skip
        proven = requesting.template_hash(fleet)
        Fleet.objects.filter(pk=fleet.pk).update(proven_template=proven)
        operating.make_group(fleet)
        for item in range(100):
            client.xadd(f"s{n}", {"payload": str(item)})
        made.append(fleet)
    Limits.made()
    return made


def an_orphan(fleet_id: int | None, fleet: Fleet, hourly_usd: str = "1") -> Orphan:
    now = clock.utcnow()
    made: Orphan = Orphan.objects.create(
        account=fleet.accounts.get(), external_id=f"m-{Orphan.objects.count()}", name="x",
        fleet_id=fleet_id, hourly_usd=Decimal(hourly_usd), first_seen_at=now, last_seen_at=now,
    )  # fmt: skip
    return made


def tick_with(fleet: Fleet, meanwhile: Any) -> Decision | None:
    """Tick once; `meanwhile()` happens after its decision and before its rows are written."""
    real, left = ticking.decide, [meanwhile]

    def decide(*values: Any) -> Decision:
        decision = real(*values)
        if left:
            left.pop()()
        return decision

    with mock.patch.object(ticking, "decide", decide):
        return ticking.tick_fleet(fleet.pk)


@pytest.mark.django_db
@pytest.mark.parametrize(("limit", "value"), LIMITS)
def test_a_tick_starts_nothing_if_another_fleet_started_pods_since_it_counted(
    redis_url: str, limit: str, value: Any
) -> None:
    one, two = fleets(redis_url, 2)
    Limits.objects.update(**{limit: value})
    assert tick_with(one, lambda: ticking.tick_fleet(two.pk)) is None
    assert [pod.fleet_id for pod in Pod.objects.all()] == [two.pk]
    assert list(Tick.objects.values_list("fleet", "spawned")) == [(two.pk, 1)]
    decided = ticking.tick_fleet(one.pk)
    assert decided is not None
    assert (decided.spawn, Pod.objects.count()) == ((), 1)


@pytest.mark.django_db
def test_without_a_limit_of_the_installation_fleets_do_not_wait_for_each_other(
    redis_url: str,
) -> None:
    one, two = fleets(redis_url, 2)
    assert tick_with(one, lambda: ticking.tick_fleet(two.pk)) is not None
    assert Pod.objects.count() == 2


@pytest.mark.django_db
def test_a_pod_of_another_fleet_that_appears_during_the_tick_counts(redis_url: str) -> None:
    one, two = fleets(redis_url, 2)
    Limits.objects.update(max_instances=1)
    assert tick_with(one, lambda: a_pod(two, READY)) is None
    assert not Pod.objects.filter(fleet=one).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("limit", "value"), [("max_instances", 3), ("max_hourly_usd", 3)])
def test_machines_without_a_row_outside_the_fleet_count_for_the_installation(
    redis_url: str, limit: str, value: int, *, named: bool
) -> None:
    one, two = fleets(redis_url, 2)
    Limits.objects.update(**{limit: value})
    for _ in range(3):
        an_orphan(two.pk if named else None, two)
    decided = ticking.tick_fleet(one.pk)
    assert decided is not None
    assert (decided.spawn, decided.binding) == (
        (),
        "installation_instances" if limit == "max_instances" else "installation_hourly_usd",
    )
    Orphan.objects.update(gone_at=clock.utcnow())
    decided = ticking.tick_fleet(one.pk)
    assert decided is not None
    assert len(decided.spawn) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("limit", "value"), LIMITS)
def test_fleets_that_tick_together_start_no_more_than_the_installation_may(
    redis_url: str, limit: str, value: Any
) -> None:
    made = fleets(redis_url, 4)
    Limits.objects.update(**{limit: value})
    together, real = threading.Barrier(4), ticking.decide

    def decide(*values: Any) -> Decision:
        decision = real(*values)
        together.wait(patience(30))
        return decision

    def tick(fleet: Fleet) -> None:
        try:
            ticking.tick_fleet(fleet.pk)
        finally:
            connections.close_all()

    with mock.patch.object(ticking, "decide", decide):
        threads = [threading.Thread(target=tick, args=(fleet,)) for fleet in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(patience(60))
    assert Pod.objects.billable().count() == 1
    for fleet in made:
        ticking.tick_fleet(fleet.pk)
    assert Pod.objects.billable().count() == 1
