"""Numbers as people read them."""

import pytest

from pods.base import words


@pytest.mark.parametrize(
    ("rate", "text"), [(None, words.UNKNOWN), (0.0, "0.0"), (8.44, "8.4"), (1234.5, "1,234.5")]
)
def test_a_rate_is_shown_with_one_digit_and_an_unknown_rate_as_unknown(
    rate: float | None, text: str
) -> None:
    assert words.per_second(rate) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345_678, "12.3 MB"),
        (2**31, "2.1 GB"),
    ],
)
def test_a_size_has_the_unit_that_fits(count: int | None, text: str) -> None:
    assert words.size(count) == text


def test_a_percentage_is_whole_and_an_unknown_one_is_shown_as_unknown() -> None:
    assert [words.percent(share) for share in (None, 0, 22.4)] == ["-", "0 %", "22 %"]
