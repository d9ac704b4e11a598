"""The decision follows its formula and its guardrails."""

from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.decide import decide, desired_pods
from fleet.decision.guardrails import wind_down
from fleet.decision.values import Caps, Mode, Override, Policy, Snapshot
from fleet.tick.recording import recorded, replayed
from pods.states import (
    BOOTING,
    CREATING,
    DRAINING,
    READY,
    REQUESTED,
    STOPPED,
    TERMINATING,
)
from tests.support.factories import NOON, hours, offer_facts, pod_facts, policy, seconds, snapshot
from tests.support.strategies import EXAMPLES, policies, prices, snapshots

SNAPSHOTS = snapshots()
limited_by = st.sampled_from([None, "max_hourly_usd", "daily_budget_usd", "total_budget_usd"])
capped_by = st.sampled_from([None, "max_hourly_usd", "daily_budget_usd"])
NEAR = st.sampled_from(["-0.01", "0", "0.01", "0.5", "1", "3"]).map(Decimal)


@st.composite
def near_a_limit(draw: st.DrawFn) -> tuple[Snapshot, Policy]:
    """A fleet that wants more pods than it may have; few random snapshots would start any pod."""
    offers = [offer_facts(f"o{n}", hourly_usd=draw(prices)) for n in range(3)]
    eager: dict[str, Any] = {
        "depth": 10**9,
        "proven": True,
        "items_per_second": None,
        "offers": offers,
    }
    seen = replace(draw(SNAPSHOTS), **eager)
    hourly, elsewhere = seen.hourly_usd, seen.elsewhere
    everywhere = hourly + elsewhere.hourly_usd
    had = {
        "max_hourly_usd": hourly,
        "daily_budget_usd": seen.spent_today_usd + hourly,
        "total_budget_usd": seen.spent_total_usd + hourly,
    }
    had_everywhere = {
        "max_hourly_usd": everywhere,
        "daily_budget_usd": seen.spent_today_usd + elsewhere.spent_today_usd + everywhere,
    }
    limited = draw(limited_by)
    capped = draw(capped_by)
    caps = {capped: max(Decimal(0), had_everywhere[capped] + draw(NEAR))} if capped else {}
    places = seen.billable + elsewhere.pods + draw(st.integers(0, 3))
    return seen, policy(
        max_instances=max(1, seen.billable + draw(st.integers(-1, 3))),
        spawn_per_tick=draw(st.integers(1, 2)),
        installation=Caps(max_instances=draw(st.none() | st.just(places)), **caps),
        **({limited: max(Decimal(0), had[limited] + draw(NEAR))} if limited else {}),
    )


NEAR_A_LIMIT = st.tuples(snapshots(), policies()) | near_a_limit()


@EXAMPLES
@given(depth=st.integers(0, 10**12), p=policies())
def test_the_desired_number_is_the_clamped_quotient(depth: int, p: Policy) -> None:
    wished = depth // p.target_depth_per_pod + (depth % p.target_depth_per_pod > 0)
    assert desired_pods(depth, p) == sorted((p.min_instances, wished, p.max_instances))[1]


@EXAMPLES
@given(depth=st.integers(0, 5000), most=st.integers(0, 12))
def test_without_a_binding_guardrail_the_target_is_the_desired_number(
    depth: int, most: int
) -> None:
    p = policy(max_instances=most, spawn_per_tick=100)
    decision = decide(snapshot(depth), p)
    assert decision.target == decision.desired == len(decision.spawn)
    assert not decision.retire


@EXAMPLES
@given(both=NEAR_A_LIMIT)
def test_the_number_of_pods_never_passes_a_limit(both: tuple[Snapshot, Policy]) -> None:
    seen, p = both
    decision = decide(seen, p)
    new = len(decision.spawn)
    assert new <= p.spawn_per_tick
    if new:
        assert seen.billable + new <= p.max_instances
        if p.installation.max_instances is not None:
            assert seen.billable + seen.elsewhere.pods + new <= p.installation.max_instances
        assert p.mode is Mode.RUNNING
        assert p.installation_mode is Mode.RUNNING


@EXAMPLES
@given(both=NEAR_A_LIMIT)
def test_no_spawn_passes_a_ceiling_or_a_budget(both: tuple[Snapshot, Policy]) -> None:
    seen, p = both
    new = sum((o.hourly_usd for o in decide(seen, p).spawn), Decimal(0))
    if not decide(seen, p).spawn:
        return
    hourly = seen.hourly_usd + new
    everywhere = hourly + seen.elsewhere.hourly_usd
    spent_everywhere = seen.spent_today_usd + seen.elsewhere.spent_today_usd
    for limit, committed in (
        (p.max_hourly_usd, hourly),
        (p.daily_budget_usd, seen.spent_today_usd + hourly),
        (p.total_budget_usd, seen.spent_total_usd + hourly),
        (p.installation.max_hourly_usd, everywhere),
        (p.installation.daily_budget_usd, spent_everywhere + everywhere),
    ):
        assert limit is None or committed <= limit


@EXAMPLES
@given(seen=snapshots(), p=policies())
def test_an_unknown_backlog_wishes_for_no_change(seen: Snapshot, p: Policy) -> None:
    if seen.depth is not None or (p.override and p.override.until > seen.now):
        return
    decision = decide(seen, p)
    assert not decision.spawn
    assert not [r for r in decision.retire if r.rule == "idle"]


def test_an_unknown_backlog_retires_no_idle_pods() -> None:
    idle = [pod_facts(n, idle_for=hours(1), in_flight=0) for n in (1, 2)]
    decision = decide(snapshot(None, pods=idle), policy())
    assert (decision.desired, decision.target, decision.retire) == (2, 2, ())
    none = Override(pods=0, until=NOON + hours(1), by="ann", because="a test")
    assert decide(snapshot(None, pods=idle), policy(override=none)).retire == ()


@EXAMPLES
@given(seen=snapshots(), p=policies())
def test_a_lowered_limit_also_retires_running_pods(seen: Snapshot, p: Policy) -> None:
    gone = {r.pod_id for r in decide(seen, p).retire}
    stay = [pod for pod in seen.active if pod.pod_id not in gone]
    assert len(stay) <= p.max_instances
    if p.max_hourly_usd is not None and seen.hourly_usd > p.max_hourly_usd:
        assert sum(pod.hourly_usd for pod in stay) <= p.max_hourly_usd or len(stay) <= sum(
            total <= p.max_hourly_usd
            for total in accumulate(sorted(x.hourly_usd for x in seen.active))
        )
    if Mode.STOP_ALL in {p.mode, p.installation_mode}:
        assert not stay
        assert not [x for x in seen.pods if x.state is STOPPED and x.pod_id not in gone]


@EXAMPLES
@given(seen=snapshots(), p=policies())
def test_each_pod_is_retired_once_and_only_if_it_runs(seen: Snapshot, p: Policy) -> None:
    retired = [r.pod_id for r in decide(seen, p).retire]
    assert len(retired) == len(set(retired))
    states = {pod.pod_id: pod.state for pod in seen.pods}
    assert not {states[n] for n in retired} & {DRAINING, TERMINATING}


@EXAMPLES
@given(seen=snapshots(), p=policies())
def test_the_steps_lead_from_the_wish_to_the_target(seen: Snapshot, p: Policy) -> None:
    decision = decide(seen, p)
    assert decision.steps[-1].after == decision.target
    for one, two in zip(decision.steps, decision.steps[1:], strict=False):
        assert two.before == one.after
    for step in decision.steps[1:]:
        assert step.after < step.before or step.rule == "min_instances"
    assert all(step.because and not step.because.endswith(".") for step in decision.steps)
    assert decision.sentence
    if decision.binding:
        assert decision.binding in {s.rule for s in decision.steps}


@EXAMPLES
@given(seen=snapshots(), p=policies())
def test_a_recorded_snapshot_is_decided_the_same_way(seen: Snapshot, p: Policy) -> None:
    assert decide(replayed(recorded(seen)), p) == decide(seen, p)


def test_a_recording_of_ten_thousand_pods_is_small_and_can_be_replayed() -> None:
    seen = snapshot(5, pods=tuple(pod_facts(n) for n in range(10_000)))
    packed = recorded(seen)
    assert len(str(packed)) < 400_000
    assert replayed(packed) == seen


def test_by_default_one_pod_runs_and_a_tick_starts_one() -> None:
    p = Policy(target_depth_per_pod=1)
    assert (p.max_instances, p.spawn_per_tick) == (1, 1)
    assert len(decide(snapshot(1000), p).spawn) == 1


def test_each_idle_pod_is_retired_after_its_time_and_the_last_stays_while_items_wait() -> None:
    idle = [pod_facts(n, idle_for=seconds(100 + 10 * n), in_flight=0) for n in range(1, 5)]
    seen = snapshot(1, pods=idle)
    gone = [r.pod_id for r in decide(seen, policy(idle_after=seconds(120))).retire]
    assert gone == [4, 3, 2]
    empty = snapshot(0, pods=idle)
    assert len(decide(empty, policy(idle_after=seconds(120))).retire) == 3
    busy = snapshot(1, pods=[pod_facts(1, idle_for=None, in_flight=3)])
    assert not decide(busy, policy()).retire


def test_a_pod_with_items_in_hand_is_never_retired_as_idle() -> None:
    seen = snapshot(0, pods=[pod_facts(1, idle_for=seconds(900), in_flight=2)])
    assert not decide(seen, policy(idle_after=seconds(120))).retire


def test_requested_pods_count_so_that_no_pod_is_started_twice() -> None:
    for state in (REQUESTED, CREATING, BOOTING, READY):
        seen = snapshot(100, pods=[pod_facts(1, state)])
        assert not decide(seen, policy()).spawn


def test_a_pod_on_its_way_out_takes_a_place_until_it_is_proved_gone() -> None:
    seen = snapshot(1000, pods=[pod_facts(1, TERMINATING), pod_facts(2, DRAINING)])
    decision = decide(seen, policy(max_instances=2))
    assert not decision.spawn
    assert decision.binding == "room"


def test_a_ceiling_holds_whatever_binds_and_not_if_fewer_pods_are_wanted_anyway() -> None:
    leaving = [pod_facts(1, TERMINATING, hourly_usd=Decimal(1))]
    limits: dict[str, Any] = {"max_instances": 1, "max_hourly_usd": Decimal("1.2")}
    decision = decide(snapshot(1000, pods=leaving), policy(**limits))
    assert decision.binding == "room"
    assert "max_hourly_usd" in decision.holding
    assert "max_hourly_usd" not in decide(snapshot(0, pods=leaving), policy(**limits)).holding
    working = [pod_facts(1, hourly_usd=Decimal(1))]
    enough = decide(snapshot(1000, pods=working), policy(**limits))
    assert "max_hourly_usd" not in enough.holding  # max_instances allows no second pod


def test_a_lowered_limit_retires_the_dearest_per_item_first() -> None:
    fast = pod_facts(1, hourly_usd=Decimal(2), items_per_second=100.0)
    slow = pod_facts(2, hourly_usd=Decimal(1), items_per_second=1.0)
    plain = pod_facts(3, hourly_usd=Decimal("0.1"), items_per_second=1.0)
    seen = snapshot(10**6, pods=[fast, slow, plain])
    retire = decide(seen, policy(max_instances=2)).retire
    assert [(r.pod_id, r.rule) for r in retire] == [(2, "max_instances")]


def test_pods_that_do_not_work_yet_are_retired_first() -> None:
    seen = snapshot(10**6, pods=[pod_facts(1, hourly_usd=Decimal(9)), pod_facts(2, BOOTING)])
    assert [r.pod_id for r in decide(seen, policy(max_instances=1)).retire] == [2]


def test_pods_above_their_age_are_replaced_one_in_each_tick() -> None:
    old = [pod_facts(n, age=hours(24 + n)) for n in (1, 2)]
    decision = decide(snapshot(10**6, pods=old), policy(max_pod_age=hours(24)))
    assert [(r.pod_id, r.rule) for r in decision.retire] == [(2, "max_pod_hours")]


def test_a_budget_that_runs_out_retires_while_the_drain_can_still_be_paid() -> None:
    p = policy(daily_budget_usd=Decimal(10))
    reserve = Decimal(wind_down(p).total_seconds()) / 3600
    pods_there = [pod_facts(n, hourly_usd=Decimal(1)) for n in range(3)]
    just_enough = snapshot(
        10**6, pods=pods_there, spent_today_usd=10 - 3 * reserve - Decimal("0.01")
    )
    assert not decide(just_enough, p).retire
    too_late = snapshot(10**6, pods=pods_there, spent_today_usd=10 - 2 * reserve)
    assert len(decide(too_late, p).retire) == 1
    over = snapshot(10**6, pods=pods_there, spent_today_usd=Decimal(11))
    assert len(decide(over, p).retire) == 3


def test_a_new_template_gets_one_pod_until_its_first_item() -> None:
    seen = snapshot(10**6, proven=False)
    assert len(decide(seen, policy(spawn_per_tick=5)).spawn) == 1
    waiting = snapshot(10**6, proven=False, pods=[pod_facts(1)])
    assert decide(waiting, policy(spawn_per_tick=5)).binding == "canary"


def test_no_pod_starts_for_items_that_a_pod_has_in_hand() -> None:
    busy = pod_facts(1, in_flight=100)
    p = policy(target_depth_per_pod=50, spawn_per_tick=5)
    all_taken = snapshot(100, pending=100, pods=[busy])
    assert decide(all_taken, p).binding == "takeable"
    assert not decide(all_taken, p).spawn
    some_wait = snapshot(160, pending=100, pods=[busy])
    assert len(decide(some_wait, p).spawn) == 2
    one_comes = snapshot(160, pending=100, pods=[busy, pod_facts(2, BOOTING)])
    assert len(decide(one_comes, p).spawn) == 1


def test_items_in_the_hands_of_dead_pods_are_taken_by_new_ones() -> None:
    p = policy(target_depth_per_pod=50, spawn_per_tick=5)
    assert len(decide(snapshot(100, pending=100), p).spawn) == 2
    ends = pod_facts(1, DRAINING, in_flight=100)
    assert len(decide(snapshot(100, pending=100, pods=[ends]), p).spawn) == 2


def test_a_heartbeat_cannot_claim_more_items_than_the_backlogs_server_says() -> None:
    liar = pod_facts(1, in_flight=10**9)
    p = policy(target_depth_per_pod=50, spawn_per_tick=5)
    assert len(decide(snapshot(200, pending=3, pods=[liar]), p).spawn) == 3


def test_min_instances_and_an_override_hold_although_all_items_are_in_hand() -> None:
    seen = snapshot(10, pending=10, pods=[pod_facts(1, in_flight=10)])
    assert len(decide(seen, policy(min_instances=3, spawn_per_tick=5)).spawn) == 2
    held = Override(pods=4, until=NOON + seconds(1), by="ann", because="the demo")
    assert len(decide(seen, policy(override=held, spawn_per_tick=5)).spawn) == 3


@EXAMPLES
@given(SNAPSHOTS, policies(), st.integers(1, 12), st.integers(0, 12))
def test_no_start_is_for_items_that_nobody_could_take(
    drawn: Snapshot, p: Policy, depth: int, pending: int
) -> None:
    seen = replace(drawn, depth=depth, pending=min(pending, depth))
    decision = decide(seen, p)
    new = len(decision.spawn) + len(decision.resume)
    if not new:
        return
    in_hand = min(sum(f.in_flight or 0 for f in seen.active if f.state is READY), seen.pending)
    held = p.override.pods if p.override is not None and p.override.until > seen.now else 0
    most_asked = max(p.min_instances, held)
    assert in_hand < depth or len(seen.active) + new <= most_asked


def test_no_pod_starts_that_would_work_for_less_than_its_boot() -> None:
    seen = snapshot(1000, pods=[pod_facts(1)], items_per_second=10.0, boot_time=seconds(300))
    assert decide(seen, policy()).binding == "worth_booting"
    longer = snapshot(9000, pods=[pod_facts(1)], items_per_second=10.0, boot_time=seconds(300))
    assert decide(longer, policy()).spawn


def test_an_override_lasts_until_its_end_within_the_guardrails() -> None:
    held = Override(pods=6, until=NOON + seconds(1), by="ann", because="the demo")
    p = policy(override=held, spawn_per_tick=100, max_instances=4)
    assert len(decide(snapshot(0), p).spawn) == 4
    ended = policy(override=Override(pods=6, until=NOON, by="ann", because="the demo"))
    assert not decide(snapshot(0), ended).spawn


@pytest.mark.parametrize(
    ("seen", "p", "words"),
    [
        (
            snapshot(1000),
            policy(),
            ["needs 10 pods (1,000 items at 100 per pod)", "because a tick starts at most 1 pod"],
        ),
        (snapshot(None, unknown_because="no stream"), policy(), ["unknown (no stream)"]),
        (snapshot(50, pods=[pod_facts(1)]), policy(), ["keeps 1 pod", "needs 1 pod "]),
        (snapshot(5000, offers=()), policy(), ["0 offers can be rented"]),
    ],
)
def test_the_sentence_says_what_and_why(seen: Snapshot, p: Policy, words: list[str]) -> None:
    text = decide(seen, p).sentence
    assert [word for word in words if word not in text] == []
