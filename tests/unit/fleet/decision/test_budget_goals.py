"""A fleet with a budget or with the lowest cost as its goal: what it rents, and when it stops."""

from dataclasses import replace
from decimal import Decimal

import pytest

from fleet.decision import guardrails
from fleet.decision.decide import decide
from fleet.decision.goals import worth_it
from fleet.decision.plan import Choice
from fleet.decision.values import Goal, Policy
from pods.rules import PodRule
from tests.support.factories import offer_facts, policy, seconds
from tests.support.goals import FIRM, by, offers, on, rented, seen, within


def test_a_budget_is_spent_as_fast_as_it_allows() -> None:
    plenty = decide(seen(20, offers=offers(spot=4)), within("200", spawn_per_tick=8))
    assert sorted(rented(plenty)) == ["firm"] * 4 + ["spot"] * 4
    little = decide(seen(20, offers=offers(spot=4)), within("22", spawn_per_tick=8))
    assert "firm" not in rented(little)
    assert "may not finish" in little.sentence


def test_a_budget_counts_from_when_it_was_set() -> None:
    spent = seen(20, spent_total_usd=Decimal(500))
    assert decide(spent, within("200", budget_from_usd=Decimal(500))).spawn
    over = decide(spent, within("200", budget_from_usd=Decimal(300)))
    assert over.binding == "budget_usd" or not over.spawn
    assert not over.spawn


def test_a_spent_budget_ends_the_pods() -> None:
    working = on("spot", 4)
    spent = seen(20, pods=working, spent_total_usd=Decimal("19.95"))
    decision = decide(spent, within("20"))
    assert {r.rule for r in decision.retire} <= {PodRule.BUDGET_USD, PodRule.GOAL}
    assert len(decision.retire) == 4


def test_a_bill_that_fell_after_the_budget_was_set_is_no_negative_spending() -> None:
    spent = seen(20, pods=on("spot", 1), spent_total_usd=Decimal("4.99"))
    bound = guardrails.budget_usd(spent, within("0.01", budget_from_usd=Decimal(5)), ())
    assert bound is not None
    assert bound.because.startswith("$0.00 of the goal's budget ($0.01) is spent")


def test_pods_on_demand_end_when_the_budget_does_not_pay_for_them() -> None:
    spent = seen(20, pods=on("firm", 2), offers=offers(spot=0))
    decision = decide(spent, within("22"))
    assert [r.because for r in decision.retire] == [
        "the goal's budget does not pay for it any more"
    ] * 2


def test_the_cheapest_goal_rents_the_cheapest_spot_alone() -> None:
    dear = offer_facts("dear", hourly_usd=Decimal("1.2"), interruptible=True)
    found = (dear,) * 4 + offers(spot=3)
    decision = decide(
        seen(offers=found), policy(goal=Goal.CHEAPEST, max_instances=8, spawn_per_tick=8)
    )
    assert rented(decision) == ["spot"] * 3
    waits = decide(seen(offers=offers(spot=0)), policy(goal=Goal.CHEAPEST))
    assert not waits.spawn
    assert "waits for an interruptible offer" in waits.sentence
    never = seen(offers=offers(spot=0), spot_hourly_usd=None)
    assert rented(decide(never, policy(goal=Goal.CHEAPEST))) == ["firm"]


@pytest.mark.parametrize("goal", [by(24), by(10.7), within("400"), policy(goal=Goal.CHEAPEST)])
def test_no_pod_starts_on_an_interruptible_offer_that_is_dearer_than_on_demand(
    goal: Policy,
) -> None:
    dear = offer_facts("dear", hourly_usd=FIRM, interruptible=True)
    none_cheaper = seen(offers=(dear,) * 8 + offers(spot=0), spot_hourly_usd=None)
    assert set(rented(decide(none_cheaper, goal))) == {"firm"}
    alone = seen(offers=(dear,) * 8, spot_hourly_usd=None)
    assert set(rented(decide(alone, goal))) == {"dear"}


def test_pods_on_an_offer_that_has_become_dear_stay_until_a_cheaper_one_pays() -> None:
    choices = [
        Choice(key=0, usd=5, spot=True, room=6, running=2),
        Choice(key=1, usd=3, spot=False, room=8),
    ]
    assert [(c.key, c.room) for c in worth_it(choices)] == [(0, 2), (1, 8)]


def test_what_a_loss_leaves_of_a_small_budget_is_still_spent() -> None:
    rest = seen(20, spent_total_usd=Decimal("9.5"), boot_time=seconds(60))
    # Half a dollar is more than two boots and drains, and as much work.
    assert rented(decide(rest, within("10", drain_within=seconds(60)))) == ["spot"]
    daily = decide(rest, within("99", drain_within=seconds(60), total_budget_usd=Decimal(10)))
    assert daily.binding == "total_budget_usd"
    unknown = replace(rest, usual_items_per_second=None)
    assert rented(decide(unknown, within("10", drain_within=seconds(60)))) == ["spot"]
