"""A fleet learns about offers from the rows of its pods."""

from datetime import timedelta
from typing import Any

import pytest

from fleet import operating
from fleet.models import Fleet, Tick
from fleet.tick import market, requesting, ticking
from pods import lifecycle
from pods.base import clock
from pods.models import Account, Pod
from pods.rules import PodRule
from pods.states import CREATING, FAILED, LOST, READY, TERMINATED, TERMINATING
from tests.support.factories import a_fleet, a_pod, an_account, packed
from tests.support.items import add_items

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    offers = [packed("cheap", "0.3", "A"), packed("fast", "2", "B")]
    account = an_account("runpod", offers=offers)
    made: Fleet = a_fleet(accounts=[account], max_instances=9, target_depth_per_pod=10, image="i:1")
    Fleet.objects.filter(pk=made.pk).update(proven_template=requesting.template_hash(made))
    return made


def worked(fleet: Fleet, gpu: str, rate: float, **values: Any) -> Pod:
    return a_pod(fleet, READY, gpu_type=gpu, gpu_count=1, done=100, rate=rate, **values)


def chosen(fleet: Fleet) -> tuple[list[str], str]:
    now = clock.utcnow()
    pods = list(Pod.objects.filter(fleet=fleet).billable())
    supply = market.offers_for(fleet, now, market.experience(fleet, now, pods))
    return [o.key for o in supply.offers], supply.because


def test_the_cheapest_per_item_as_measured_in_this_fleet_is_rented_and_the_row_says_why(
    fleet: Fleet, redis_url: str
) -> None:
    worked(fleet, "A", 2.0)
    worked(fleet, "B", 60.0)
    worked(fleet, "B", 1.0)  # a low rate weighs little: the pod was idle
    worked(
        a_fleet(accounts=list(fleet.accounts.all())), "A", 999.0
    )  # another fleet has another model
    add_items(redis_url, 1000)
    operating.make_group(fleet)
    decision = ticking.tick_fleet(fleet.pk)
    assert decision is not None
    assert [s.offer.key for s in decision.spawn] == ["fast"]
    assert "B at $2.00/h and 59.0 items/s: $9.41 per million items, best of 2" in decision.sentence
    assert decision.spawn[0].because in Tick.objects.get().sentence
    assert decision.spawn[0].because in Pod.objects.get(state="requested").because


def test_an_offer_that_was_refused_gives_way_to_the_next_and_comes_back(fleet: Fleet) -> None:
    worked(fleet, "A", 8.0)
    assert chosen(fleet)[0] == ["cheap"]
    pod = a_pod(fleet, CREATING, offer_key="cheap", gpu_type="A", gpu_count=1)
    lifecycle.move(pod, FAILED, by="spawn", rule=PodRule.NO_CAPACITY, because="none left")
    assert chosen(fleet)[0] == ["fast"]
    Pod.objects.filter(pk=pod.pk).update(state_since=clock.utcnow() - timedelta(minutes=6))
    assert chosen(fleet)[0] == ["cheap"]


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (PodRule.AUTH_FAILED, {}),
        (PodRule.QUOTA_EXCEEDED, {}),
        (PodRule.IDLE, {}),
        (PodRule.REFUSED, {"asked_at": None}),
    ],
)
def test_a_failure_that_is_not_the_offers_fault_does_not_count(
    fleet: Fleet, rule: PodRule, values: dict[str, Any]
) -> None:
    worked(fleet, "A", 8.0)
    pod = a_pod(fleet, CREATING, offer_key="cheap", **values)
    lifecycle.move(pod, FAILED, by="spawn", rule=rule, because="NoCapacity: none left")
    assert chosen(fleet)[0] == ["cheap"]


@pytest.mark.parametrize("rule", ["hung", "failing"])
def test_a_host_whose_pod_hung_is_avoided_by_every_fleet(fleet: Fleet, rule: str) -> None:
    hosted = packed("hosted", "0.1", "A", host="h1")
    Account.objects.update(offers=[hosted, packed("fast", "2", "B")])
    worked(fleet, "A", 8.0)
    assert chosen(fleet)[0] == ["hosted"]
    other = a_fleet(accounts=list(fleet.accounts.all()))
    a_pod(other, TERMINATED, offer_key="gone", host="h1", retire_rule=rule)
    assert chosen(fleet)[0] == ["fast"]


def test_after_three_losses_an_interruptible_offer_gives_way_to_on_demand(fleet: Fleet) -> None:
    spot = packed("spot", "0.05", "A", interruptible=True)
    Account.objects.update(offers=[spot, packed("sure", "0.5", "A")])
    worked(fleet, "A", 8.0)
    for n in range(3):
        assert chosen(fleet)[0] == ["spot"], n
        a_pod(
            fleet,
            LOST if n else TERMINATING,
            offer_key="spot",
            interruptible=True,
            gpu_type="A",
            retire_rule="stopped_unasked",
        )
    assert chosen(fleet)[0] == ["sure"]


def test_if_all_offers_are_avoided_the_decision_names_the_best_one(fleet: Fleet) -> None:
    for key in ("cheap", "fast"):
        pod = a_pod(fleet, CREATING, offer_key=key)
        lifecycle.move(pod, FAILED, by="spawn", rule=PodRule.NO_CAPACITY, because="none left")
    assert "2 fitting offers avoided for now (the best one: refused " in chosen(fleet)[1]


def test_a_new_gpu_gets_one_pod_until_its_first_item(fleet: Fleet) -> None:
    worked(fleet, "B", 1.0)
    trial = a_pod(fleet, READY, offer_key="cheap", gpu_type="A", gpu_count=1)
    assert chosen(fleet)[0] == ["fast"]
    Pod.objects.filter(pk=trial.pk).update(done=1, rate=8.0)
    assert chosen(fleet)[0] == ["cheap"]
