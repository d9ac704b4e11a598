"""Decisions that repeat become one line, and nothing is lost or joined that differs."""

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.pages.decision_lines import Folded, Row, folded
from tests.support.examples import examples
from tests.support.factories import NOON, seconds

PERIODS = {1: seconds(15), 2: seconds(600)}


def rows(*kinds: tuple[int, str, int], step: float = 15) -> list[Row]:
    """Rows of (fleet, binding rule, moves), the newest first, with so many seconds in between."""
    return [
        Row(
            pk=1000 - n, fleet_id=fleet, at=NOON - seconds(step * n), binding=binding, active=3,
            target=3, moves=moves, known=True, failing=0,
        )
        for n, (fleet, binding, moves) in enumerate(kinds)
    ]  # fmt: skip


def fold(read: Sequence[Row], most: int = 50, *, cut_off: bool = False) -> Folded:
    return folded(read, PERIODS, most=most, cut_off=cut_off)


HELD, CALM, MOVE = (1, "max_instances", 0), (1, "", 0), (1, "max_instances", 1)


def test_the_same_again_is_one_line_with_its_length() -> None:
    [line] = fold(rows(*[HELD] * 48)).lines
    assert (line.count, line.lasted, line.whole) == (48, seconds(47 * 15), True)
    assert line.newest.at == NOON


def test_another_rule_and_each_move_begin_a_line() -> None:
    found = fold(rows(HELD, HELD, CALM, MOVE, MOVE, HELD, HELD)).lines
    assert [line.count for line in found] == [2, 1, 1, 1, 2]


def test_fleets_that_take_turns_are_folded_each_for_itself() -> None:
    turns = [(1, "max_instances", 0), (2, "brake", 0)] * 5
    found = fold(rows(*turns)).lines
    assert [(line.newest.fleet_id, line.count) for line in found] == [(1, 5), (2, 5)]


def test_a_gap_of_more_than_two_periods_begins_a_line() -> None:
    assert [line.count for line in fold(rows(HELD, HELD, step=60)).lines] == [2]
    assert [line.count for line in fold(rows(HELD, HELD, step=61)).lines] == [1, 1]
    slow = (2, "max_instances", 0)
    assert [line.count for line in fold(rows(slow, slow, step=1500)).lines] == [2]
    assert [line.count for line in fold(rows(slow, slow, step=1501)).lines] == [1, 1]


def test_a_run_that_may_go_on_before_the_page_says_so() -> None:
    first, last = fold(rows(MOVE, HELD, HELD), cut_off=True).lines
    assert (first.whole, last.whole) == (True, False)
    assert fold(rows(MOVE, HELD, HELD)).lines[-1].whole


def test_a_page_that_is_full_ends_before_the_next_line() -> None:
    read = rows(HELD, HELD, CALM, CALM, MOVE)
    found = fold(read, most=2)
    assert [line.count for line in found.lines] == [2, 2]
    assert found.last is read[3]
    assert found.more
    assert not fold(read, most=3).more


def test_no_decision_is_no_line() -> None:
    assert fold([]) == Folded(lines=[], last=None, more=False)


KINDS = st.tuples(
    st.sampled_from([1, 2]), st.sampled_from(["", "brake"]), st.sampled_from([0, 0, 1])
)


@settings(max_examples=examples(500))
@given(st.lists(KINDS, max_size=40), st.integers(1, 8), st.sampled_from([15.0, 61.0, 700.0]))
def test_every_decision_is_counted_once_and_pages_follow_each_other(
    kinds: list[tuple[int, str, int]], most: int, step: float
) -> None:
    left = rows(*kinds, step=step)
    counted = 0
    while left:
        found = fold(left, most)
        taken = sum(line.count for line in found.lines)
        assert 1 <= len(found.lines) <= most
        assert found.last is left[taken - 1]
        assert found.more == (taken < len(left))
        for line in found.lines:
            assert line.lasted <= (line.count - 1) * timedelta(seconds=1500)
            assert line.count == 1 or not line.newest.moves
        counted, left = counted + taken, left[taken:]
    assert counted == len(kinds)
