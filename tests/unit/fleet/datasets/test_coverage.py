"""What no part has is found, and of overlapping parts those stay that have the most rows."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.datasets.coverage import END, Bounds, both, bounds, choose, missing, overlap
from pods.agent.ranges import PartName
from tests.support.examples import examples

FILE = "0123456789abcdef"
intervals = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda p: (min(p), max(p)))
parts = st.builds(
    lambda span, to_end, errors: PartName(
        FILE, span[0], None if to_end else span[1], errors=errors
    ),
    intervals,
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["", "deadbeef"]),
)


def rows(spans: list[Bounds]) -> list[int]:
    return [row for start, end in spans for row in range(start, min(end, 40))]


def span(part: PartName) -> Bounds:
    return bounds(part.start, part.end)


@settings(max_examples=examples(500))
@given(intervals, st.lists(intervals, max_size=8))
def test_what_is_missing_and_what_is_covered_are_the_whole_and_have_nothing_in_common(
    whole: Bounds, covered: list[Bounds]
) -> None:
    found = missing(whole, covered)
    assert rows(found) == sorted(set(range(*whole)) - set(rows(covered)))
    assert all(start < end for start, end in found)


@settings(max_examples=examples(500))
@given(st.lists(intervals, max_size=6), st.lists(intervals, max_size=6))
def test_rows_in_both_are_in_both(one: list[Bounds], other: list[Bounds]) -> None:
    first, second = missing((0, 20), one), missing((0, 20), other)
    assert rows(both(first, second)) == sorted(set(rows(first)) & set(rows(second)))


@settings(max_examples=examples(500))
@given(st.lists(parts, max_size=7), st.sets(st.integers(0, 6)))
def test_the_parts_that_stay_have_no_row_in_common_and_no_choice_has_more_rows(
    there: list[PartName], receipted: set[int]
) -> None:
    named = {str(part) for n, part in enumerate(there) if n in receipted}
    chosen = choose(there, named)
    assert not any(overlap(span(a), [span(b)]) for a, b in combinations(chosen.kept, 2))
    assert sorted([*chosen.kept, *chosen.gone], key=str) == sorted(set(there), key=str)

    def worth(some: tuple[PartName, ...]) -> tuple[int, int]:
        return sum(b - a for a, b in map(span, some)), sum(str(p) in named for p in some)

    apart = [
        some
        for n in range(len(set(there)) + 1)
        for some in combinations(set(there), n)
        if not any(overlap(span(a), [span(b)]) for a, b in combinations(some, 2))
    ]
    assert worth(tuple(chosen.kept)) == max(map(worth, apart))


@settings(max_examples=examples(500))
@given(st.lists(parts, max_size=7), st.randoms())
def test_the_order_of_the_names_changes_nothing(there: list[PartName], chance: object) -> None:
    mixed = list(there)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert choose(there) == choose(mixed)


@settings(max_examples=examples(500))
@given(st.lists(parts, max_size=7))
def test_what_is_missing_beside_the_kept_parts_completes_the_file(there: list[PartName]) -> None:
    kept = [span(part) for part in choose(there).kept]
    all_of_it = sorted(rows(missing((0, END), kept)) + rows(kept))
    assert all_of_it == list(range(40))


def test_parts_with_a_receipt_win_over_one_that_has_the_same_rows() -> None:
    whole = PartName(FILE, 0, 1000)
    two = [PartName(FILE, 0, 600), PartName(FILE, 600, 1000)]
    assert choose([whole, *two]).kept == [whole]
    assert choose([whole, *two], {str(p) for p in two}).kept == two


def test_a_part_to_the_end_wins_over_its_beginning() -> None:
    assert choose([PartName(FILE, 0, 500), PartName(FILE, 0, None)]).kept == [
        PartName(FILE, 0, None)
    ]
