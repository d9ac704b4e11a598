"""A fleet with a goal: its wish follows its plan, and every guardrail holds all the same."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.decide import decide
from fleet.decision.guardrails import wind_down
from fleet.decision.values import Caps, Failing, Goal, Mode, Override, Policy, Snapshot
from fleet.tick.recording import recorded, replayed
from pods.price import cost_usd
from pods.rules import PodRule
from pods.states import BOOTING, DRAINING, STOPPED
from tests.support.factories import NOON, hours, pod_facts, seconds, snapshot
from tests.support.goals import SPOT, by, offers, on, rented, seen
from tests.support.strategies import EXAMPLES, policies, snapshots

SNAPSHOTS, POLICIES = snapshots(), policies()


@st.composite
def with_goals(draw: st.DrawFn) -> tuple[Snapshot, Policy]:
    """Any snapshot and policy, with a goal and the facts that it reads."""
    drawn, rules = draw(SNAPSHOTS), draw(POLICIES)
    kinds = st.booleans()
    facts = replace(
        drawn,
        depth=draw(st.sampled_from([None, 0, 1, 5000, 10**6, 10**8])),
        pods=tuple(
            replace(p, interruptible=draw(kinds), offer_key=draw(st.sampled_from(["o0", "gone"])))
            for p in drawn.pods
        ),
        offers=tuple(
            replace(o, interruptible=draw(kinds), stood_for=draw(st.sampled_from([None, hours(2)])))
            for o in drawn.offers
            for _ in range(2)
        ),
        boot_bound=draw(st.sampled_from([None, seconds(60), seconds(900)])),
        usual_items_per_second=draw(st.sampled_from([None, 1.0, 50.0])),
        arrivals_per_second=draw(st.sampled_from([None, 0.5])),
        rate_spread=draw(st.sampled_from([None, 0.1])),
        spot_lost=draw(st.sampled_from([0.0, 7.0])),
        spot_hours=draw(st.sampled_from([0.0, 40.0])),
        spot_hourly_usd=draw(st.sampled_from([None, SPOT])),
    )
    goal = draw(st.sampled_from(Goal))
    return facts, replace(
        rules,
        goal=goal,
        drain_by=NOON + hours(draw(st.sampled_from([-1.0, 0.1, 2.0, 24.0, 500.0]))),
        budget_usd=Decimal(draw(st.sampled_from(["0", "1", "20", "5000"]))),
        budget_from_usd=Decimal(draw(st.sampled_from(["0", "1"]))),
    )


WITH_GOALS = with_goals()


@EXAMPLES
@given(both=WITH_GOALS)
def test_no_goal_starts_a_pod_past_a_limit(both: tuple[Snapshot, Policy]) -> None:
    facts, rules = both
    decision = decide(facts, rules)
    new = len(decision.spawn)
    if not new:
        return
    everywhere = facts.elsewhere
    assert new <= rules.spawn_per_tick
    assert facts.billable + new <= rules.max_instances
    assert {rules.mode, rules.installation_mode} == {Mode.RUNNING}
    cap = rules.installation
    assert cap.max_instances is None or (
        facts.billable + everywhere.pods + new <= cap.max_instances
    )
    hourly = facts.hourly_usd + sum((o.hourly_usd for o in decision.spawn), Decimal(0))
    for limit, committed in (
        (rules.max_hourly_usd, hourly),
        (cap.max_hourly_usd, hourly + everywhere.hourly_usd),
    ):
        assert limit is None or committed <= limit


@EXAMPLES
@given(both=WITH_GOALS)
def test_no_goal_starts_a_pod_that_a_budget_cannot_end(both: tuple[Snapshot, Policy]) -> None:
    facts, rules = both
    decision = decide(facts, rules)
    if not decision.spawn:
        return
    hourly = facts.hourly_usd + sum((o.hourly_usd for o in decision.spawn), Decimal(0))
    ending = cost_usd(hourly, wind_down(rules))
    for limit, spent in (
        (rules.daily_budget_usd, facts.spent_today_usd),
        (rules.total_budget_usd, facts.spent_total_usd),
        (
            rules.budget_usd if rules.goal is Goal.BUDGET else None,
            facts.spent_total_usd - rules.budget_from_usd,
        ),
    ):
        assert limit is None or spent + ending <= limit


@EXAMPLES
@given(both=WITH_GOALS)
def test_each_pod_ends_once_and_the_steps_lead_to_the_target(
    both: tuple[Snapshot, Policy],
) -> None:
    facts, rules = both
    decision = decide(facts, rules)
    gone = [r.pod_id for r in decision.retire]
    assert len(gone) == len(set(gone))
    again = {start.pod_id for start in decision.resume}
    assert len(again) == len(decision.resume)
    assert again <= {p.pod_id for p in facts.pods if p.state is STOPPED}
    assert not again & set(gone)
    assert decision.steps[-1].after == decision.target
    for one, two in zip(decision.steps, decision.steps[1:], strict=False):
        assert two.before == one.after
    assert all(step.because and not step.because.endswith(".") for step in decision.steps)


@EXAMPLES
@given(both=WITH_GOALS)
def test_a_recorded_tick_of_a_goal_is_decided_the_same_way(both: tuple[Snapshot, Policy]) -> None:
    facts, rules = both
    assert decide(replayed(recorded(facts)), rules) == decide(facts, rules)


@EXAMPLES
@given(both=WITH_GOALS)
def test_a_fleet_that_goes_by_demand_reads_nothing_of_a_goal(both: tuple[Snapshot, Policy]) -> None:
    facts, rules = both
    rules = replace(rules, goal=Goal.DEMAND)
    plain = replace(
        facts,
        pods=tuple(replace(p, interruptible=False, offer_key="") for p in facts.pods),
        boot_bound=None,
        usual_items_per_second=None,
        arrivals_per_second=None,
        rate_spread=None,
        spot_lost=0.0,
        spot_hours=0.0,
        spot_hourly_usd=None,
    )
    usual = replace(rules, drain_by=None, budget_usd=None, budget_from_usd=Decimal(0))
    assert decide(facts, rules) == decide(plain, usual)


@EXAMPLES
@given(both=WITH_GOALS)
def test_a_goal_changes_nothing_while_the_backlog_is_unknown(
    both: tuple[Snapshot, Policy],
) -> None:
    facts, rules = both
    if rules.override and rules.override.until > facts.now:
        return
    decision = decide(replace(facts, depth=None), rules)
    assert not decision.spawn
    assert not [r for r in decision.retire if r.rule in {PodRule.IDLE, PodRule.GOAL}]


def test_spot_is_rented_while_there_is_time_and_on_demand_when_none_is_left() -> None:
    assert rented(decide(seen(), by())) == ["spot"] * 4
    assert rented(decide(seen(offers=offers(spot=0)), by())) == []
    late = decide(seen(offers=offers(spot=0)), by(10.3))
    assert rented(late) == ["firm"] * 4
    assert late.steps[0].after == 8


def test_the_sentence_says_what_there_is_to_spare_and_what_happens() -> None:
    waits = decide(seen(offers=offers(spot=0)), by())
    assert waits.sentence == (
        "keeps 0 pods; 14.0 h to spare, 2.9 h of them kept for restarts, 12 min for the last boot: "
        "waits for spot"
    )


def test_what_cannot_be_made_is_said_at_once_with_what_is_missing() -> None:
    decision = decide(seen(110.4), by(10, spawn_per_tick=8))
    assert "cannot make it: needs 12 pods, cap 8; 13.8 h left to do, 10.0 h to go" in (
        decision.sentence
    )


def test_what_cannot_be_made_is_said_also_where_nothing_is_offered_now() -> None:
    decision = decide(seen(110.4, offers=()), by(10))
    assert decision.impossible
    assert "cannot make it: needs 12 pods" in decision.risk
    assert "Allow 12 pods, or set Done by to 2026-11-24" in decision.risk
    assert not decide(seen(offers=()), by()).impossible


def test_limits_on_number_and_money_enter_the_promise_first() -> None:
    money = by(10.3, max_hourly_usd=Decimal("12.5"), max_instances=20)
    assert "cap 4;" in decide(seen(), money).sentence
    places = by(10.3, installation=Caps(max_instances=2), max_instances=20)
    assert "cap 2;" in decide(seen(), places).sentence


def test_a_busy_pod_on_demand_is_drained_when_spot_is_back() -> None:
    working = on("firm", 8)
    none = decide(seen(40, offers=offers(spot=0), pods=working), by())
    assert not none.retire
    back = decide(seen(40, offers=offers(), pods=working), by())
    assert {r.rule for r in back.retire} == {PodRule.GOAL}
    assert len(back.retire) == 8
    assert back.target == 8
    leaving = [replace(p, state=DRAINING) for p in working]
    assert rented(decide(seen(40, pods=leaving), by())) == []  # they keep their places
    assert rented(decide(seen(40, pods=leaving[:4]), by())) == ["spot"] * 4


@pytest.mark.parametrize(
    "held",
    [
        {"mode": Mode.PAUSED},
        {"daily_budget_usd": Decimal(25)},
        {"installation_mode": Mode.PAUSED},
    ],
    ids=["paused", "no money", "all paused"],
)
def test_no_pod_makes_way_while_nothing_could_replace_it(held: dict[str, Any]) -> None:
    assert not decide(seen(40, pods=on("firm", 8)), by(**held)).retire
    failing = Failing(count=1, at=NOON, because="no module", until=NOON + hours(1))
    assert not decide(seen(40, pods=on("firm", 8), failing=failing), by()).retire


def test_running_spot_pods_move_to_a_settled_cheaper_offer() -> None:
    dear = on("dear", 8, hourly_usd=Decimal("1.5"), interruptible=True)
    new = decide(seen(pods=dear, offers=offers(stood_for=seconds(60))), by(72))
    assert not new.retire
    settled = decide(seen(pods=dear, offers=offers(stood_for=hours(2))), by(72))
    assert len(settled.retire) == 8
    assert "stood for an hour" in settled.sentence


def test_a_new_template_gets_one_pod_and_no_promise() -> None:
    first = decide(seen(proven=False), by())
    assert rented(first) == ["spot"]
    assert "no promise until then" in first.sentence
    nobody_knows = decide(seen(usual_items_per_second=None), by())
    assert len(nobody_knows.spawn) == 1
    assert "no pod has shown its speed" in nobody_knows.sentence


def test_a_new_pod_corrects_a_usual_speed_that_is_much_too_low() -> None:
    hung = {"usual_items_per_second": 0.1, "offers": offers()}
    slow = decide(seen(8, pods=(), **hung), by(10))
    assert slow.impossible
    new = on("spot", 1, items_per_second=10.0, ready_for=seconds(40))
    assert not decide(seen(8, pods=new, **hung), by(10)).impossible
    little_faster = {"usual_items_per_second": 5.1, "offers": offers()}
    kept = decide(seen(8, pods=new, **little_faster), by(10)).sentence
    assert (
        kept
        == decide(
            seen(8, pods=on("spot", 1, items_per_second=None), **little_faster), by(10)
        ).sentence
    )


def test_a_pod_boots_near_the_end_if_the_net_needs_it() -> None:
    working = on("spot", 1)
    little: dict[str, Any] = {"pods": working, "items_per_second": 10.0, "offers": offers(spot=0)}
    tight = by(0.18, max_instances=2)
    assert rented(decide(seen(0.05, **little), tight)) == ["firm"]
    plenty = decide(seen(0.05, **{**little, "offers": offers()}), by(24, max_instances=2))
    assert plenty.binding == "worth_booting"


def test_pods_that_the_plan_wants_are_not_retired_as_idle() -> None:
    waiting = on("spot", 4, in_flight=0, idle_for=hours(1))
    assert not decide(seen(40, pods=waiting), by()).retire
    assert len(decide(seen(0, pods=waiting), by()).retire) == 4
    one_item = snapshot(1, pods=waiting, usual_items_per_second=10.0)
    assert len(decide(one_item, by()).retire) == 3


def test_an_override_wins_over_the_plan() -> None:
    held = Override(pods=2, until=NOON + hours(1), by="ann", because="a test")
    decision = decide(seen(), by(override=held))
    assert decision.steps[0].after == 2
    assert not decide(seen(pods=on("firm", 8)), by(override=held)).retire


def test_where_no_spot_exists_it_does_not_wait_for_it() -> None:
    firm: dict[str, Any] = {"offers": offers(spot=0), "spot_hourly_usd": None}
    decision = decide(seen(**firm), by(24, spawn_per_tick=8))
    assert decision.steps[0].after == 4  # 80 pod-hours in 24 h, with time for restarts
    assert "spot is not offered" in decision.sentence


def test_without_any_offer_the_decision_says_why_there_is_none() -> None:
    nothing = seen(offers=(), no_offers_because="main: none of its 9 offers fits")
    decision = decide(nothing, by())
    assert (decision.binding, decision.steps[0].after) == ("no_offers", 8)
    assert "none of its 9 offers fits" in decision.sentence


def test_pods_start_only_for_work_that_waits_where_more_arrives() -> None:
    some = seen(0.4, arrivals_per_second=2.0)
    assert decide(some, by(24)).steps[0].after == 2
    alone = seen(0.4)
    assert decide(alone, by(24)).steps[0].after == 8


def test_a_margin_is_kept_for_pods_that_differ() -> None:
    even, uneven = seen(80), seen(80, rate_spread=0.1)
    assert "14.0 h to spare" in decide(even, by()).sentence
    assert "13.4 h to spare" in decide(uneven, by()).sentence


def test_boots_under_way_are_not_counted_as_time_to_spare() -> None:
    booting = on("spot", 8, state=BOOTING, age=timedelta(0), items_per_second=None)
    ready = decide(seen(80, pods=on("spot", 8)), by(10.4)).steps[0].because
    coming = decide(seen(80, pods=booting), by(10.4)).steps[0].because
    assert (ready[:14], coming[:14]) == ("0.4 h to spare", "0.3 h to spare")


def test_a_stopped_pod_of_the_wanted_kind_runs_again_first() -> None:
    kept = pod_facts(
        9, STOPPED, hourly_usd=SPOT, interruptible=True, stopped_hourly_usd=Decimal("0.01")
    )
    decision = decide(seen(pods=[kept]), by())
    assert [start.pod_id for start in decision.resume] == [9]
    assert rented(decision) == ["spot"] * 3


def test_the_speed_that_pods_show_counts_before_the_usual_one() -> None:
    fast = seen(80, pods=on("spot", 4, items_per_second=20.0))
    assert "3.0 h to spare" in decide(fast, by(8)).sentence
    just_ready = seen(80, pods=on("spot", 4, items_per_second=2.0, ready_for=seconds(60)))
    assert "6.0 h to spare" in decide(just_ready, by(16)).sentence
