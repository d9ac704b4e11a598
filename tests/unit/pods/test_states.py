"""The table of states, and the page that shows it."""

import re
from pathlib import Path

from pods.states import ACTIVE, BILLABLE, ENDED, IN_TRANSIT, MOVES, REQUESTED, PodState, may_move

STATES = {state.value for state in PodState}
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "states.md"


def reachable(start: PodState) -> set[PodState]:
    found, todo = {start}, [start]
    while todo:
        for after in MOVES[todo.pop()] - found:
            found.add(after)
            todo.append(after)
    return found


def test_each_state_has_a_row_is_reachable_and_can_end() -> None:
    assert set(MOVES) == set(PodState) == reachable(REQUESTED)
    for state in PodState:
        assert reachable(state) & ENDED


def test_pods_that_have_not_ended_bill_and_pods_in_transit_can_move() -> None:
    assert frozenset(PodState) - ENDED == BILLABLE
    assert ACTIVE < BILLABLE
    assert IN_TRANSIT < BILLABLE
    assert all(MOVES[state] for state in IN_TRANSIT)


def test_an_ended_row_can_only_go_back_to_terminating() -> None:
    for state in ENDED:
        assert MOVES[state] == {PodState.TERMINATING}


def test_only_a_terminating_pod_can_become_terminated() -> None:
    for before in PodState:
        if may_move(before, PodState.TERMINATED):
            assert before is PodState.TERMINATING


def test_the_page_shows_exactly_these_moves() -> None:
    rows = re.findall(r"^\| ([a-z]+) \| ([a-z, ]+) \|$", PAGE.read_text(), re.MULTILINE)
    shown = {before: frozenset(after.split(", ")) for before, after in rows if before in STATES}
    assert shown == {s.value: frozenset(a.value for a in MOVES[s]) for s in PodState}
