"""Texts and values of a vendor are checked before they are used or shown."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.providers.errors import Refused
from pods.providers.wire import checked_id, cleaned, moment, secrets_in, usd

SECRETS = st.text(min_size=4, max_size=40)


@given(st.text(max_size=20))
def test_an_id_that_passes_names_one_thing_below_the_collection(value: str) -> None:
    try:
        checked_id(value)
    except Refused:
        return
    assert value.strip("./")
    assert not set(value) & set("/?#%\\ ")
    assert value not in {".", ".."}


@given(st.lists(SECRETS, min_size=1, max_size=3), st.text(max_size=20), st.text(max_size=20))
def test_no_secret_survives_the_cleaning(secrets: list[str], before: str, after: str) -> None:
    shown = cleaned(before + "|".join(secrets) + after, secrets)
    assert not [s for s in secrets if s in shown and s not in "***"]


@given(st.text(max_size=60))
def test_a_shown_text_has_no_control_characters_except_tabs_and_line_ends(text: str) -> None:
    assert all(c in "\t\n" or (ord(c) >= 32 and not 127 <= ord(c) < 160) for c in cleaned(text))


def test_a_longer_secret_is_hidden_before_the_shorter_one_within_it() -> None:
    assert cleaned("key-and-more", ["key-and-more", "key-"]) == "***"


def test_short_values_are_left_in_texts() -> None:
    assert cleaned("1 of 10 pods", ["1", "pod"]) == "1 of 10 pods"


def test_the_password_of_an_address_is_hidden_apart() -> None:
    assert list(secrets_in(["redis://user:p%40ss@host/0", "plain"])) == [
        "redis://user:p%40ss@host/0",
        "p%40ss",
        "p@ss",
        "plain",
    ]


@pytest.mark.parametrize(
    "value",
    [None, "", "0.3", 0.3, True, -1, Decimal("NaN"), Decimal("Infinity"), Decimal(10**7), {}],
)
def test_money_that_cannot_be_believed_is_unknown(value: object) -> None:
    assert usd(value) is None


@pytest.mark.parametrize("value", [0, 3, Decimal("0.345")])
def test_money_is_read_exactly(value: int | Decimal) -> None:
    assert usd(value) == Decimal(value)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("2026-08-20T06:16:19Z", "2026-08-20 06:16:19+00:00"),
        ("2026-08-20T06:16:19", "2026-08-20 06:16:19+00:00"),
        ("2026-08-20T08:16:19+02:00", "2026-08-20 08:16:19+02:00"),
        ("2026-08-20 06:16:19.436 +0000 UTC", "2026-08-20 06:16:19.436000+00:00"),
        (1_787_206_579, "2026-08-20 06:16:19+00:00"),
        (Decimal("1787206579.5"), "2026-08-20 06:16:19.500000+00:00"),
        ("", "None"),
        (True, "None"),
        (10**30, "None"),
        ({}, "None"),
    ],
)
def test_times_are_read_as_vendors_write_them(value: object, read: str) -> None:
    assert str(moment(value)) == read
