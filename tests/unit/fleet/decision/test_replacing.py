"""Pods with old code are replaced: first one on trial, then one after the other."""

from datetime import timedelta
from typing import Any

import pytest

from fleet.decision.decide import decide
from fleet.decision.values import Decision, Failing, Mode, PodFacts, Rule
from pods.states import BOOTING, DRAINING, READY, STOPPED
from tests.support.factories import NOON, pod_facts, policy, snapshot


def old(pod_id: int, **values: Any) -> PodFacts:
    return pod_facts(pod_id, **{"outdated": True, "in_flight": 1, **values})


def new(pod_id: int, **values: Any) -> PodFacts:
    return pod_facts(pod_id, **{"in_flight": 1, **values})


def decided(*pods: PodFacts, depth: int = 150, most: int = 10, **values: Any) -> Decision:
    seen = snapshot(depth, pods=pods, pending=0, **values)
    return decide(seen, policy(max_instances=most))


def leaving(decision: Decision) -> list[int]:
    return [r.pod_id for r in decision.retire if r.rule == "old_code"]


def test_the_first_pod_with_new_code_starts_beside_the_others() -> None:
    decision = decided(old(1), old(2), proven=False)
    assert (len(decision.spawn), leaving(decision)) == (1, [])
    assert Rule.NEW_CODE in [s.rule for s in decision.steps]


def test_no_further_pod_starts_until_the_trial_has_finished_an_item() -> None:
    for state in (BOOTING, READY):
        decision = decided(old(1), old(2), new(3, state=state, trial=True), proven=False, depth=900)
        assert (len(decision.spawn), leaving(decision)) == (0, [])


def test_old_pods_then_end_one_at_a_time() -> None:
    assert leaving(decided(old(1), old(2), new(3))) == [1]
    assert leaving(decided(old(1, state=DRAINING), old(2), new(3))) == []
    assert leaving(decided(old(2), new(3), new(4, state=BOOTING, trial=True))) == []
    assert leaving(decided(old(2), new(3), new(4, trial=True))) == []
    assert leaving(decided(old(2), new(3), new(4))) == [2]
    assert leaving(decided(new(3), new(4))) == []


def test_where_no_place_is_free_an_old_pod_makes_place() -> None:
    decision = decided(old(1), old(2), proven=False, most=2)
    assert (len(decision.spawn), leaving(decision)) == (0, [1])
    decision = decided(old(2), old(1, state=DRAINING), proven=False, most=2)
    assert (len(decision.spawn), leaving(decision)) == (0, [])
    decision = decided(old(2), proven=False, most=2)
    assert (len(decision.spawn), leaving(decision)) == (1, [])


def test_while_the_new_code_fails_the_old_pods_stay() -> None:
    soon = NOON + timedelta(minutes=1)
    failing = Failing(count=1, at=NOON, because="no module", until=soon)
    decision = decided(old(1), old(2), proven=False, failing=failing, most=2)
    assert (len(decision.spawn), leaving(decision)) == (0, [])
    assert "no module" in decision.trouble


def test_code_that_fails_everything_does_not_keep_its_repair_away() -> None:
    decision = decided(old(1, all_fail=True, busy=0.0), proven=False, depth=50)
    assert len(decision.spawn) == 1


def test_without_items_nothing_is_tried() -> None:
    decision = decided(old(1), proven=False, depth=0)
    assert (len(decision.spawn), leaving(decision)) == (0, [])


def idle(*pods: PodFacts, kept: int, most: int = 10, **values: Any) -> Decision:
    seen = snapshot(0, pods=pods, pending=0, **values)
    return decide(seen, policy(max_instances=most, min_instances=kept))


def rests(pod_id: int, *, outdated: bool = True, **values: Any) -> PodFacts:
    more = {"in_flight": 0, "idle_for": timedelta(seconds=5), "outdated": outdated, **values}
    return pod_facts(pod_id, **more)


def test_pods_that_are_kept_idle_are_replaced_one_at_a_time_before_an_item_comes() -> None:
    decision = idle(rests(1), rests(2), kept=2, proven=False)
    assert (len(decision.spawn), leaving(decision)) == (1, [])
    fresh = rests(3, outdated=False, state=BOOTING, trial=True)
    decision = idle(rests(1), rests(2), fresh, kept=2, proven=False)
    assert (len(decision.spawn), leaving(decision)) == (0, [])
    ready = rests(3, outdated=False, trial=True)
    decision = idle(rests(1), rests(2), ready, kept=2, proven=False)
    assert (len(decision.spawn), leaving(decision)) == (0, [1])
    decision = idle(rests(1, state=DRAINING), rests(2), ready, kept=2, proven=False)
    assert leaving(decision) == []
    decision = idle(rests(2), ready, kept=2, proven=False)
    assert (len(decision.spawn), leaving(decision)) == (1, [])
    decision = idle(rests(2), ready, rests(4, outdated=False, trial=True), kept=2, proven=False)
    assert (len(decision.spawn), leaving(decision)) == (0, [2])


def test_an_idle_pod_makes_place_or_stays_as_a_working_one_does() -> None:
    assert leaving(idle(rests(1), kept=1, most=1, proven=False)) == [1]
    failing = Failing(count=1, at=NOON, because="no module", until=NOON + timedelta(minutes=1))
    decision = idle(rests(1), kept=1, most=1, proven=False, failing=failing)
    assert (len(decision.spawn), leaving(decision)) == (0, [])
    decision = idle(rests(1), kept=0, proven=False)
    assert (len(decision.spawn), leaving(decision)) == (0, [])


def test_while_the_backlog_is_unknown_nothing_is_replaced() -> None:
    seen = snapshot(None, pods=[old(1), new(2)], unknown_because="no answer")
    assert leaving(decide(seen, policy())) == []


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.STOP_ALL])
def test_a_fleet_that_does_not_run_replaces_nothing(mode: Mode) -> None:
    seen = snapshot(150, pods=[old(1), new(2)])
    assert leaving(decide(seen, policy(mode=mode))) == []


def test_a_stopped_pod_with_old_code_ends_and_does_not_run_again() -> None:
    stopped = old(1, state=STOPPED, stopped_for=timedelta(hours=1), in_flight=None)
    decision = decided(stopped, new(2))
    assert not decision.resume
    assert decided(stopped, new(2), depth=50).retire[0].pod_id == 1
