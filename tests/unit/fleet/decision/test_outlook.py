"""The forecast of a fleet: forty replays of its own decisions."""

import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.decision.outlook import NoOutlook, Outlook, replays_for
from fleet.decision.outlook import outlook as forty
from fleet.decision.spells import History, OfferKind, Spell, kind_of
from fleet.decision.values import Goal, Mode, Policy, Snapshot
from pods.states import READY
from tests.support.factories import NOON, hours, offer_facts, pod_facts, policy, snapshot
from tests.support.goals import FIRM, SPOT, by, offers, on, seen, within

SPOT_KIND = kind_of(offers()[0])
ALWAYS = History(days=7, stretches={SPOT_KIND: [[Spell(True, 168.0)]]})
HALF = History(days=7, stretches={SPOT_KIND: [[Spell(True, 4.0), Spell(False, 4.0)] * 21]})


def outlook(facts: Snapshot, rules: Policy, history: History = ALWAYS) -> Outlook:
    """Twelve replays, which are quicker than forty."""
    return forty(facts, rules, history, replays=12)


def firm_alone(pods: int, pod_hours: float = 8, **values: Any) -> Snapshot:
    """Pods on demand that work, and no other offer."""
    known = {"offers": offers(spot=0), "spot_hourly_usd": None}
    return seen(pod_hours, pods=tuple(on("firm", pods)), **{**known, **values})


def plain(pods: int) -> Policy:
    return policy(max_instances=pods, spawn_per_tick=pods, target_depth_per_pod=1)


def test_pods_that_go_on_are_done_when_their_rate_says_and_cost_their_price() -> None:
    found = outlook(firm_alone(4), plain(4))
    assert found.likely_at is not None
    assert found.sure_at is not None
    assert found.likely_at - NOON == pytest.approx(hours(2), rel=0.03)
    assert hours(2) < found.sure_at - NOON < hours(2.3)
    assert float(found.likely_usd) == pytest.approx(8 * 3.06, rel=0.06)  # with the idle minutes
    assert found.likely_usd < found.sure_usd < found.likely_usd * 2
    assert (found.pods, found.on_time, found.money_ends) == (4, None, 0)


def test_the_same_facts_give_the_same_forecast() -> None:
    facts = seen(40, pods=tuple(on("spot", 3)))
    assert outlook(facts, by(10), HALF) == outlook(facts, by(10), HALF)


def test_a_roomy_deadline_is_made_and_an_impossible_one_is_not() -> None:
    roomy = outlook(seen(40), by(12), HALF)
    assert roomy.on_time == 1
    assert roomy.sure_at is not None
    late = outlook(seen(120), by(12), HALF)
    assert late.on_time == 0
    assert late.likely_at is not None
    assert late.likely_at > NOON + hours(12)


def test_a_calm_market_is_cheaper_than_one_that_comes_and_goes() -> None:
    facts = seen(60, pods=tuple(on("spot", 8)))
    calm, restless = outlook(facts, by(12), ALWAYS), outlook(facts, by(12), HALF)
    assert calm.likely_usd < restless.likely_usd
    assert float(calm.likely_usd) == pytest.approx(60 * 0.92, rel=0.1)
    assert restless.sure_usd <= 60 * FIRM * 2


def test_offers_that_stood_before_come_back_in_a_replay() -> None:
    """A fleet that uses the cheapest kind alone waits for it, so it needs to know that it comes."""
    facts = seen(8, offers=offers(spot=0))
    spot = offer_facts("spot", hourly_usd=SPOT, interruptible=True)
    gone = History(days=7, stretches=HALF.stretches, absent=(spot,))
    waiting = policy(goal=Goal.CHEAPEST, max_instances=8, spawn_per_tick=4)
    found = outlook(facts, waiting, gone)
    assert found.likely_at is not None
    assert NOON + hours(1) < found.likely_at < NOON + hours(12)


def test_a_budget_that_is_too_small_ends_before_the_backlog() -> None:
    short = outlook(seen(80), within("40"), ALWAYS)
    assert short.money_ends > 0.9
    assert 0 < short.left < 80 * 36_000
    assert short.sure_usd <= Decimal(40)
    enough = outlook(seen(80), within("200"), ALWAYS)
    assert enough.money_ends == 0
    total = outlook(firm_alone(2), replace(plain(2), total_budget_usd=Decimal(10)))
    assert total.money_ends == 1


def test_a_vendor_that_shows_sold_out_but_leaves_pods_alone_takes_none_of_them() -> None:
    facts = seen(60, pods=tuple(on("spot", 8)), offers=offers(firm=0))
    cheapest = policy(goal=Goal.CHEAPEST, max_instances=8, spawn_per_tick=4)
    feared = outlook(facts, cheapest, HALF)
    spared = outlook(replace(facts, spot_lost=0.0, spot_hours=2000.0), cheapest, HALF)
    assert spared.likely_at is not None
    assert feared.likely_at is not None
    assert spared.likely_at - NOON == pytest.approx(hours(7.5), rel=0.1)
    assert feared.likely_at > spared.likely_at + hours(2)


def test_items_that_still_arrive_make_it_later() -> None:
    more = firm_alone(4, arrivals_per_second=20.0)
    one, other = outlook(firm_alone(4), plain(4)), outlook(more, plain(4))
    assert one.likely_at is not None
    assert other.likely_at is not None
    assert other.likely_at - NOON == pytest.approx(2 * (one.likely_at - NOON), rel=0.06)


@pytest.mark.parametrize(
    ("facts", "rules", "why"),
    [
        ({"depth": None, "unknown_because": "no host"}, {}, "the backlog is unknown: no host"),
        ({"depth": 0}, {}, "nothing is left to do"),
        ({"usual_items_per_second": None}, {}, "no pod has shown its speed yet"),
        ({}, {"mode": Mode.PAUSED}, "it is paused"),
        ({}, {"installation_mode": Mode.STOP_ALL}, "it is stopped"),
    ],
)
def test_without_facts_there_is_no_forecast_but_a_reason(
    facts: dict[str, Any], rules: dict[str, Any], why: str
) -> None:
    with pytest.raises(NoOutlook, match=why):
        outlook(replace(seen(8), **facts), by(10, **rules))


def test_little_history_is_a_guess() -> None:
    facts = snapshot(36_000, pods=(pod_facts(1, READY, items_per_second=10.0, in_flight=1),))
    kinds: dict[OfferKind, Any] = {}
    guess: Outlook = forty(facts, policy(), History(days=1.5, stretches=kinds), replays=2)
    assert guess.is_guess
    assert not forty(facts, policy(), ALWAYS, replays=2).is_guess


def test_forty_replays_of_eight_pods_take_less_than_three_seconds() -> None:
    began = time.process_time()
    forty(seen(100), by(24, tick=timedelta(seconds=15)), HALF)
    assert time.process_time() - began < 3


@pytest.mark.parametrize(("pods", "replays"), [(1, 40), (64, 40), (128, 20), (500, 8)])
def test_a_fleet_of_many_pods_gets_fewer_replays(pods: int, replays: int) -> None:
    assert replays_for(policy(max_instances=pods)) == replays
