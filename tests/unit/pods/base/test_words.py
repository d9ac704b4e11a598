"""Numbers as people read and write them, and what a server says of itself."""

from argparse import ArgumentTypeError
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis import ResponseError

from pods.base import words
from pods.base.ports import port
from pods.base.redis import eviction_of, make_consumer_group


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
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (12_345_678, "12.3 MB"),
        (2**31, "2.1 GB"),
    ],
)
def test_a_size_has_the_unit_that_fits(count: int | None, text: str) -> None:
    assert words.size(count) == text


def test_a_percentage_is_whole_and_an_unknown_one_is_shown_as_unknown() -> None:
    assert [words.percent(share) for share in (None, 0, 22.4)] == ["-", "0 %", "22 %"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "-"),
        (0, "$0.00"),
        (Decimal("0.0312"), "$0.0312"),
        (Decimal("-0.0312"), "$-0.0312"),
        (Decimal("0.1"), "$0.10"),
        (1234.5, "$1,234.50"),
    ],
)
def test_small_amounts_have_four_digits(amount: Any, text: str) -> None:
    assert words.usd(amount) == text


@pytest.mark.parametrize(("time", "text"), [(None, "-"), (timedelta(seconds=245), "4 min 5 s")])
def test_a_duration_that_is_not_known_is_shown_as_unknown(time: Any, text: str) -> None:
    assert words.duration(time) == text


@pytest.mark.parametrize("text", ["", "-1", "65536", "8o", "８０", "1e3"])
def test_what_is_not_a_port_is_refused(text: str) -> None:
    assert [port(each) for each in ("0", "80", "65535")] == [0, 80, 65535]
    with pytest.raises(ArgumentTypeError, match="give a number from 0 to 65535"):
        port(text)


class _Server:
    """Answers one question of a client as a server does."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def info(self, _section: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def xgroup_create(self, *_words: Any, **_options: Any) -> Any:
        return self.info("")


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ({"maxmemory_policy": "noeviction"}, ""),
        ({}, ""),
        (ResponseError("NOPERM"), ""),
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru"),
    ],
)
def test_a_server_that_deletes_keys_is_told_from_one_that_does_not(answer: Any, wrong: str) -> None:
    said = eviction_of(_Server(answer))  # type: ignore[arg-type]
    assert said.startswith(wrong)
    assert bool(said) is bool(wrong)


def test_a_group_that_exists_stays_and_another_refusal_is_raised() -> None:
    make_consumer_group(_Server(ResponseError("BUSYGROUP exists")), "s", "g")  # type: ignore[arg-type]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        make_consumer_group(_Server(ResponseError("WRONGTYPE")), "s", "g")  # type: ignore[arg-type]
