"""Stopped pods run again within every guardrail, and are destroyed when they only cost money."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.decide import decide
from fleet.decision.values import Mode, Policy, Snapshot
from fleet.tick.recording import recorded, replayed
from pods.states import STOPPED
from tests.support.factories import hours, offer_facts, pod_facts, policy, snapshot
from tests.support.strategies import EXAMPLES, policies, prices, snapshots


@st.composite
def with_stopped(draw: st.DrawFn) -> Snapshot:
    seen = draw(snapshots())
    stopped = tuple(
        pod_facts(
            100 + n,
            STOPPED,
            hourly_usd=draw(prices),
            stopped_hourly_usd=draw(st.sampled_from(["0", "0.004", "0.5"]).map(Decimal)),
            stopped_for=draw(st.sampled_from([0.0, 23.9, 24, 25]).map(hours)),
        )
        for n in range(draw(st.integers(1, 4)))
    )
    return replace(seen, pods=(*seen.pods, *stopped))


def a_stopped(pod_id: int = 7, usd: str = "0.5", **values: object) -> object:
    rent = {"stopped_hourly_usd": Decimal("0.004"), "stopped_for": hours(1)}
    return pod_facts(pod_id, STOPPED, hourly_usd=Decimal(usd), **{**rent, **values})


@EXAMPLES
@given(seen=with_stopped(), p=policies(), stops=st.booleans())
def test_resumed_pods_pass_no_guardrail(seen: Snapshot, p: Policy, *, stops: bool) -> None:
    p = replace(p, idle_stops=stops, max_stopped=hours(24))
    decision = decide(seen, p)
    again = {r.pod_id for r in decision.resume}
    started = len(again) + len(decision.spawn)
    assert started <= p.spawn_per_tick
    assert not again & {r.pod_id for r in decision.retire}
    assert decide(replayed(recorded(seen)), p) == decision
    if not started:
        return
    assert Mode.PAUSED not in {p.mode, p.installation_mode}
    assert seen.depth is not None or p.override
    more = sum((o.hourly_usd for o in decision.spawn), Decimal(0)) + sum(
        (max(Decimal(0), x.hourly_usd - x.bills_usd) for x in seen.pods if x.pod_id in again),
        Decimal(0),
    )
    if decision.spawn:
        assert seen.billable + len(decision.spawn) <= p.max_instances
    assert len(seen.active) + started <= p.max_instances
    if p.max_hourly_usd is not None and more:
        assert seen.hourly_usd + more <= p.max_hourly_usd


def test_a_stopped_pod_goes_before_a_dearer_offer_and_behind_a_cheaper_one() -> None:
    dear = offer_facts("dear", hourly_usd=Decimal("0.6"))
    cheap = offer_facts("cheap", hourly_usd=Decimal("0.4"))
    p = policy(spawn_per_tick=1)
    one = decide(snapshot(1000, pods=(a_stopped(),), offers=(dear,)), p)
    assert [r.pod_id for r in one.resume] == [7]
    assert "resumes 1 pod (stopped pod 7 runs again at $0.50/h: the best" in one.sentence
    other = decide(snapshot(1000, pods=(a_stopped(),), offers=(cheap,)), p)
    assert ([s.offer.key for s in other.spawn], other.resume) == (["cheap"], ())


def test_the_cost_of_items_decides_if_the_speeds_are_known() -> None:
    fast = offer_facts("fast", hourly_usd=Decimal(2), million_items_usd=Decimal(9))
    slow = a_stopped(usd="0.1", million_items_usd=Decimal(10))
    assert decide(snapshot(1000, pods=(slow,), offers=(fast,)), policy()).resume == ()


def test_a_dearer_stopped_pod_runs_again_if_a_new_one_has_no_place() -> None:
    cheap = offer_facts("cheap", hourly_usd=Decimal("0.4"))
    decision = decide(snapshot(1000, pods=(a_stopped(),), offers=(cheap,)), policy(max_instances=1))
    assert [r.pod_id for r in decision.resume] == [7]
    assert "there is no place for a new pod" in decision.sentence


def test_a_lowered_limit_destroys_stopped_pods_the_dearest_disk_first() -> None:
    dear = a_stopped(8, stopped_hourly_usd=Decimal("0.1"))
    seen = snapshot(0, pods=(pod_facts(1), a_stopped(), dear))
    assert [r.pod_id for r in decide(seen, policy(max_instances=2)).retire] == [8]
    assert decide(seen, policy(max_instances=3)).retire == ()
