"""A pod that does too little for its money is replaced, but only with enough evidence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.decide import decide
from fleet.decision.values import PodFacts
from fleet.tick.recording import recorded, replayed
from pods.states import BOOTING
from tests.support.factories import pod_facts, policy, seconds, snapshot
from tests.support.strategies import EXAMPLES


def worker(pod_id: int, rate: float = 8.0, **values: Any) -> PodFacts:
    facts = {"in_flight": 4, "gpu_type": "A", "gpu_count": 1, "ready_for": seconds(600)}
    return pod_facts(pod_id, **{**facts, "items_per_second": rate, **values})


def retired(*pods: PodFacts, **values: Any) -> list[tuple[int, str]]:
    seen = snapshot(**{"depth": 10_000, "pods": pods, "may_end_ill": True, **values})
    decision = decide(seen, policy(max_instances=len(pods)))
    assert decide(replayed(recorded(seen)), policy(max_instances=len(pods))) == decision
    return [(r.pod_id, r.rule) for r in decision.retire]


PEERS = (worker(1), worker(2, 9.0), worker(3, 7.5))


def test_a_pod_under_half_of_its_peers_items_per_dollar_is_drained() -> None:
    assert retired(*PEERS, worker(4, 3.9)) == [(4, "straggler")]
    assert retired(*PEERS, worker(4, 4.1)) == []


def test_a_slow_pod_that_is_cheap_enough_stays_and_a_fast_one_that_is_too_dear_goes() -> None:
    price = PEERS[0].hourly_usd
    assert retired(*PEERS, worker(4, 3.0, hourly_usd=price / 3)) == []
    assert retired(*PEERS, worker(4, 10.0, hourly_usd=price * 3)) == [(4, "straggler")]


@pytest.mark.parametrize(
    "values",
    [
        {"ready_for": seconds(299)},
        {"ready_for": None, "state": BOOTING},
        {"in_flight": 0},
        {"idle_for": seconds(5)},
        {"items_per_second": None},
        {"gpu_type": "B"},
        {"gpu_count": 2},
    ],
)
def test_too_little_evidence_retires_no_pod(values: dict[str, Any]) -> None:
    assert retired(*PEERS, worker(4, **{"items_per_second": 1.0, **values})) == []


@pytest.mark.parametrize(
    "values", [{"may_end_ill": False}, {"depth": 100, "pending": 100}, {"depth": None}]
)
def test_no_pod_is_retired_if_work_is_short_or_unknown_or_many_were_ended(
    values: dict[str, Any],
) -> None:
    assert retired(*PEERS, worker(4, 1.0), **values) == []


def test_one_or_two_pods_are_too_few_to_compare() -> None:
    assert retired(worker(1, 0.1)) == []
    assert retired(worker(1, 0.1), worker(2)) == []


@EXAMPLES
@given(st.lists(st.sampled_from([0.1, 1.0, 4.0, 8.0, 16.0]), max_size=7))
def test_at_most_one_straggler_is_retired_and_never_the_last_pod(rates: list[float]) -> None:
    gone = retired(*(worker(n, rate) for n, rate in enumerate(rates)))
    assert len(gone) <= (1 if len(rates) > 2 else 0)


def an_idle_pod(pod_id: int, **values: Any) -> PodFacts:
    return worker(pod_id, **{"in_flight": 0, "idle_for": seconds(300), **values})


def test_a_pod_that_takes_nothing_while_items_wait_is_replaced_also_when_it_is_the_only_one() -> (
    None
):
    assert retired(an_idle_pod(1), waiting_for=seconds(300)) == [(1, "straggler")]
    longest = an_idle_pod(2, idle_for=seconds(400))
    assert retired(an_idle_pod(1), longest, waiting_for=seconds(300)) == [(2, "straggler")]


@pytest.mark.parametrize(
    "values",
    [
        {"idle_for": seconds(299)},
        {"idle_for": None},
        {"in_flight": 1},
        {"ready_for": seconds(299)},
        {"state": BOOTING, "ready_for": None},
    ],
)
def test_a_pod_that_is_new_or_has_just_worked_is_given_time(values: dict[str, Any]) -> None:
    assert retired(an_idle_pod(1, **values), waiting_for=seconds(3000)) == []


@pytest.mark.parametrize(
    "values",
    [
        {"waiting_for": None},
        {"waiting_for": seconds(299)},
        {"waiting_for": seconds(300), "may_end_ill": False},
        {"waiting_for": seconds(300), "depth": 100, "pending": 100},
    ],
)
def test_new_items_or_items_all_taken_retire_no_pod(values: dict[str, Any]) -> None:
    assert retired(an_idle_pod(1), **values) == []
