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
