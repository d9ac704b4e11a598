"""A dataset never has more pods than ranges that are left."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.decide import decide
from fleet.decision.guardrails import asked_for
from fleet.decision.values import Policy, Rule, Snapshot
from pods.states import READY
from tests.support.factories import hours, offer_facts, pod_facts, policy, seconds, snapshot
from tests.support.strategies import EXAMPLES, policies, snapshots

OFFERS = tuple(offer_facts(f"o{n}") for n in range(9))


@EXAMPLES
@given(seen=snapshots(), p=policies(), left=st.integers(0, 6))
def test_no_pod_starts_beyond_the_ranges_that_are_left(
    seen: Snapshot, p: Policy, left: int
) -> None:
    decision = decide(replace(seen, ranges=left), p)
    started = len(decision.spawn) + len(decision.resume)
    if started:
        assert len(seen.active) + started <= max(left, asked_for(seen, p))


@EXAMPLES
@given(seen=snapshots(), p=policies(), left=st.integers(0, 6))
def test_fewer_ranges_never_mean_more_pods(seen: Snapshot, p: Policy, left: int) -> None:
    fewer, more = (decide(replace(seen, ranges=n), p) for n in (left, left + 1))
    assert len(fewer.spawn) <= len(more.spawn)
    assert fewer.target <= more.target


def test_the_sentence_says_that_few_ranges_are_left() -> None:
    seen = snapshot(100_000, ranges=2, pods=[pod_facts(1, READY)], offers=OFFERS)
    decision = decide(seen, policy(max_instances=9, spawn_per_tick=9, target_depth_per_pod=1000))
    assert decision.binding is Rule.RANGES
    assert len(decision.spawn) == 1
    assert "100,000 rows at 1,000 per pod" in decision.sentence
    assert "limited to 2 because 2 ranges of rows are left" in decision.sentence


def test_an_idle_pod_beyond_the_ranges_is_retired_though_many_rows_are_left() -> None:
    idle = [pod_facts(n, READY, idle_for=seconds(600), in_flight=0, age=hours(1)) for n in range(3)]
    seen = snapshot(100_000, ranges=1, pods=idle)
    p = policy(max_instances=9, target_depth_per_pod=1000)
    assert len(decide(seen, p).retire) == 2
    assert not decide(replace(seen, ranges=None), p).retire


def test_min_instances_holds_without_a_range() -> None:
    seen = snapshot(0, ranges=0, offers=OFFERS)
    assert len(decide(seen, policy(min_instances=1)).spawn) == 1
