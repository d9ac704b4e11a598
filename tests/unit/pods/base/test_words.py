"""Numbers as people read and write them, and what a server says of itself."""

from argparse import ArgumentTypeError
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from redis import ResponseError

from pods.base import clock, moments, shared_clock, words
from pods.base.ports import port
from pods.base.redis import eviction_of, make_consumer_group


@pytest.mark.parametrize(
    ("rate", "text"), [(None, words.NONE), (0.0, "0.0"), (8.44, "8.4"), (1234.5, "1,234.5")]
)
def test_a_rate_is_shown_with_one_digit_and_an_unknown_rate_as_unknown(
    rate: float | None, text: str
) -> None:
    assert words.per_second(rate) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
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
    assert [words.percent(share) for share in (None, 0, 22.4)] == ["–", "0 %", "22 %"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "–"),
        (0, "$0.00"),
        (Decimal("0.0001"), "<$0.01"),
        (Decimal("0.0099"), "<$0.01"),
        (Decimal("0.01"), "$0.01"),
        (Decimal("0.0312"), "$0.03"),
        (Decimal("-0.0312"), "-$0.03"),
        (Decimal("-0.001"), "-$0.01"),
        (Decimal("0.1"), "$0.10"),
        (1234.5, "$1,234.50"),
    ],
)
def test_an_amount_has_two_digits_and_one_that_is_not_free_is_never_shown_as_free(
    amount: Any, text: str
) -> None:
    assert words.usd(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "–"),
        (0, "$0.00"),
        (Decimal("0.00001"), "<$0.0001"),
        (Decimal("0.0001"), "$0.0001"),
        (Decimal("0.0312"), "$0.0312"),
        (Decimal("0.1"), "$0.10"),
        (41.5, "$41.50"),
    ],
)
def test_a_price_per_item_has_four_digits_under_ten_cents(amount: Any, text: str) -> None:
    assert words.unit_price(amount) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"), (0, "0"), (9_999, "9,999"), (10_000, "10.0 k"), (57_120, "57.1 k"),
        (999_949, "999.9 k"), (999_950, "1.0 M"), (41_800_000, "41.8 M"), (10**9, "1.0 G"),
    ],
)  # fmt: skip
def test_a_count_has_at_most_four_digits(count: int | None, text: str) -> None:
    assert words.items(count) == text


NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOON, "now"),
        (NOON - timedelta(seconds=8), "8 s ago"),
        (NOON - timedelta(minutes=3, seconds=59), "3 min ago"),
        (NOON - timedelta(hours=23, minutes=59), "23 h 59 min ago"),
        (NOON - timedelta(hours=24), "23 Nov 12:00"),
        (NOON - timedelta(days=400), "20 Oct 2025 12:00"),
        (NOON + timedelta(minutes=65), "in 1 h 5 min"),
        (NOON + timedelta(days=2), "26 Nov 12:00"),
    ],
)
def test_a_moment_is_shown_by_its_age_for_a_day_and_by_its_date_after_that(
    at: datetime, text: str
) -> None:
    assert words.when(at, NOON) == text


def test_a_moment_is_shown_in_its_own_zone_and_exactly_with_the_name_of_the_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    at = (NOON - timedelta(days=3)).astimezone(berlin)
    assert words.when(at, NOON) == "21 Nov 13:00"
    assert words.exactly(at) == "21 Nov 2026 13:00:00 CET"
    # It is still 2026 in the reader's zone when 2027 has begun elsewhere, and the other way round.
    new_year = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert (
        words.when((new_year - timedelta(days=3)).astimezone(berlin), new_year)
        == "29 Dec 2026 00:30"
    )


def test_what_is_not_known_says_why() -> None:
    assert words.unknown("host not found") == "Unknown: host not found"


@pytest.mark.parametrize(("time", "text"), [(None, "–"), (timedelta(seconds=245), "4 min 5 s")])
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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (1, "less than a minute"),
        (59, "less than a minute"),
        (60, "1 min"),
        (3_905, "1 h 5 min"),
    ],
)
def test_an_estimate_has_no_seconds(seconds: int | None, text: str) -> None:
    time = None if seconds is None else timedelta(seconds=seconds)
    assert words.time_left(time) == text


def test_a_moment_is_marked_and_no_moment_is_shown_as_none() -> None:
    assert moments.shown(None) == words.NONE
    assert moments.shown(datetime(2026, 11, 23, 12, 0, tzinfo=UTC)).startswith("<time ")


@pytest.mark.parametrize(
    ("vendor", "now"), [("sqlite", datetime(2026, 1, 2, tzinfo=UTC)), ("postgresql", "its own")]
)
def test_only_a_database_with_a_clock_is_asked_for_the_time(
    monkeypatch: pytest.MonkeyPatch, vendor: str, now: Any
) -> None:
    asked: list[str] = []
    cursor = SimpleNamespace(execute=asked.append, fetchone=lambda: ("its own",))
    database = SimpleNamespace(vendor=vendor, cursor=lambda: nullcontext(cursor))
    monkeypatch.setattr(shared_clock, "connection", database)
    monkeypatch.setattr(clock, "_wall_clock", lambda: datetime(2026, 1, 2, tzinfo=UTC))
    monkeypatch.setattr(clock, "_clock", clock._wall_clock)
    assert shared_clock.shared_now() == now
    assert len(asked) == (vendor == "postgresql")
