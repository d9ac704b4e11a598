"""What items would take and cost, before anything is rented."""

from dataclasses import replace
from decimal import Decimal

import pytest

from fleet.decision.outlook import NoOutlook
from fleet.decision.quote import Asked, quote, without_pods
from fleet.decision.spells import History, Spell, kind_of
from fleet.decision.values import Goal, Mode
from tests.support.factories import NOON, hours, policy
from tests.support.goals import FIRM, SPOT, offers, on, seen

CALM = History(days=7, stretches={kind_of(offers()[0]): [[Spell(True, 168.0)]]})
HOUR = 36_000  # items of a pod-hour
PLACES = policy(max_instances=4, spawn_per_tick=4, target_depth_per_pod=1000)


def test_each_type_of_offers_has_its_hours_and_its_price() -> None:
    found = quote(seen(0, pods=tuple(on("firm", 2))), PLACES, CALM, Asked(items=8 * HOUR))
    assert found.goal is Goal.DEMAND
    spot, firm = found.lines
    assert (spot.offer.key, firm.offer.key) == ("spot", "firm")
    for line, usd in ((spot, SPOT), (firm, FIRM)):
        expected = line.expected
        assert expected.pods == 4
        assert expected.likely_at is not None
        assert hours(2) < expected.likely_at - NOON < hours(2.4)  # with the boots
        assert float(expected.likely_usd) == pytest.approx(8 * float(usd), rel=0.12)
        assert expected.likely_usd <= expected.sure_usd
        assert line.items_per_second == pytest.approx(10.0)


def test_a_deadline_and_a_budget_are_goals_of_the_plan() -> None:
    by = NOON + hours(3)
    dated = quote(seen(0), PLACES, CALM, Asked(items=4 * HOUR, by=by))
    paid = quote(seen(0), PLACES, CALM, Asked(items=4 * HOUR, at_most_usd=Decimal(2)))
    assert [q.goal for q in (dated, paid)] == [Goal.DEADLINE, Goal.BUDGET]
    assert (dated.plan.on_time, dated.risk) == (1, "")
    assert paid.plan.money_ends == 1
    assert paid.plan.sure_usd <= 2
    both = quote(seen(0), PLACES, CALM, Asked(items=4 * HOUR, by=by, at_most_usd=Decimal(2)))
    assert both.goal is Goal.DEADLINE
    assert both.plan.money_ends == 1
    late = quote(seen(0), PLACES, CALM, Asked(items=20 * HOUR, by=by))
    assert late.plan.on_time == 0
    assert "cannot make it: needs" in late.risk


def test_a_paused_fleet_can_be_quoted_and_spent_money_does_not_count() -> None:
    paused = replace(PLACES, mode=Mode.PAUSED)
    facts = seen(0, spent_total_usd=Decimal(500))
    found = quote(facts, paused, CALM, Asked(items=4 * HOUR, at_most_usd=Decimal(10)))
    assert found.plan.money_ends < 0.1
    assert found.plan.sure_usd < 10


def test_a_speed_that_is_given_counts_for_every_offer() -> None:
    unknown = seen(0, usual_items_per_second=None)
    with pytest.raises(NoOutlook, match="no pod has shown its speed"):
        quote(unknown, PLACES, CALM, Asked(items=HOUR))
    found = quote(unknown, PLACES, CALM, Asked(items=8 * HOUR, items_per_second=20.0))
    assert [line.items_per_second for line in found.lines] == pytest.approx([20.0, 20.0])
    assert found.lines[1].expected.likely_usd == pytest.approx(4 * FIRM, rel=Decimal("0.3"))


def test_money_that_starts_no_pod_is_said_with_what_would() -> None:
    tiny = quote(seen(0), PLACES, CALM, Asked(items=4 * HOUR, at_most_usd=Decimal("0.1")))
    assert tiny.plan.pods == 0
    assert tiny.least_usd is not None
    assert Decimal("0.1") < tiny.least_usd < 2
    paid = quote(seen(0), PLACES, CALM, Asked(items=4 * HOUR, at_most_usd=tiny.least_usd))
    assert (paid.plan.pods, paid.least_usd) == (1, None)
    none = replace(PLACES, daily_budget_usd=Decimal(0))
    asked = Asked(items=HOUR, at_most_usd=Decimal(5))
    assert quote(seen(0), none, CALM, asked).least_usd is None  # no sum would start one


def test_offers_that_the_fleets_own_pods_hold_count() -> None:
    own = on("spot", 3, gpu_type="L4")
    facts = seen(0, pods=tuple(own), offers=offers(spot=0))
    free, _ = without_pods(facts, CALM)
    assert [o.key for o in free.offers] == ["spot"] * 3 + ["firm"] * 8
    assert {o.hourly_usd for o in free.offers if o.interruptible} == {SPOT}
    listed = seen(0, pods=tuple(on("firm", 2)))
    assert without_pods(listed, CALM) == (listed, CALM)


def test_an_offer_that_the_fleets_own_pods_hold_is_not_thought_gone() -> None:
    gone = replace(offers(firm=0)[0], key="recorded:1", region="EU")
    facts = seen(0, pods=tuple(on("spot", 1, gpu_type=gone.gpu_type)), offers=offers(spot=0))
    free, known = without_pods(facts, replace(CALM, absent=(gone,)))
    assert (free.offers[0].key, free.offers[0].region, known.absent) == ("spot", "EU", ())
