"""Which failures are alike, and how they are grouped."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.items.failures import VARYING, Failure, alike, groups, key_of
from tests.support.examples import examples

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def failure(error: str, number: int = 0, at: datetime | None = NOON) -> Failure:
    return Failure(letter=f"{number}-0", id=f"item-{number}", error=error, deliveries=5, at=at)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ValueError: item 17 is empty", "ValueError: item 4,211 is empty"),
        ("OSError: c5e03cdb is gone", "OSError: 00ffae12 is gone"),
        (
            "KeyError: 8d8ac610-566d-4ef0-9c22-186b2a5ed793",
            "KeyError: 00000000-566D-4ef0-9c22-18FF2a5ed793",
        ),
        ("<object at 0x7f3c2a>", "<object at 0xdeadbeef>"),
        ("timed out after 12.5 s", "timed out after 3 s"),
        ("bad row:\n  7", "bad row: 8"),
        ("at 2026-11-23 12:00:01.5", "at 2027-01-02 03:04:05.25"),
    ],
)
def test_numbers_ids_and_spaces_do_not_tell_errors_apart(one: str, other: str) -> None:
    assert alike(one) == alike(other)
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ValueError: bad", "TypeError: bad"),
        ("KeyError: 'name'", "KeyError: 'title'"),
        ("deadbeef", "feedface"),  # words, although each letter is a hexadecimal digit
        ("", "ValueError"),
    ],
)
def test_types_and_words_do(one: str, other: str) -> None:
    assert key_of(one) != key_of(other)


@settings(max_examples=examples(500))
@given(st.text(max_size=200))
def test_what_is_alike_has_no_number_left_and_is_alike_to_itself(error: str) -> None:
    once = alike(error)
    assert not VARYING.search(once)
    assert alike(once) == once


@settings(max_examples=examples(500))
@given(st.lists(st.sampled_from(["A: 1", "A: 2", "B: 1", "C"]), max_size=30))
def test_each_failure_is_in_one_group_and_the_largest_group_is_first(errors: list[str]) -> None:
    seen = [failure(e, n, NOON - timedelta(seconds=n)) for n, e in enumerate(errors)]
    made = groups(seen)
    assert sorted(letter for g in made for letter in g.letters) == sorted(f.letter for f in seen)
    assert [g.count for g in made] == sorted((g.count for g in made), reverse=True)
    for g in made:
        assert g.example.letter == g.letters[0]
        assert g.last == g.example.at
        assert g.first == min(f.at for f in seen if f.at and f.letter in g.letters)


def test_a_group_without_times_says_that_they_are_not_known() -> None:
    [group] = groups([failure("A", 1, None), failure("A", 2, NOON), failure("A", 3, None)])
    assert (group.first, group.last) == (NOON, NOON)
    [group] = groups([failure("A", 1, None)])
    assert (group.first, group.last) == (None, None)


def test_a_long_hostile_error_is_read_in_no_time() -> None:
    begin = time.process_time()
    for evil in ("a" * 10_000, "a1" * 5_000, "1," * 5_000, "0x" * 5_000, "a" * 8 + "-" * 9_000):
        alike(evil * 10)
    assert time.process_time() - begin < 2
