"""The names of machines: built names can be read again, and odd names say nothing."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.machine_names import MachineName, fleet_tag, has_tag, read_token, short_name, token_of

TOKEN = uuid.UUID(hex="0123456789abcdef0123456789abcdef")
SLUGS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)


@given(SLUGS, st.integers(0, 10**17 - 1), st.uuids())
def test_a_name_that_we_build_can_be_read_again(slug: str, fleet_id: int, token: uuid.UUID) -> None:
    name = MachineName(slug=slug, fleet_id=fleet_id, token=token)
    assert MachineName.parse(str(name)) == name
    assert token_of(str(name)) == token.hex
    for tag in ("pf", f"pf-{slug}", name.tag, fleet_tag(slug, fleet_id)):
        assert has_tag(str(name), tag)
    assert not has_tag(str(name), f"pf-{slug}-{fleet_id}0")


@given(st.text())
def test_reading_any_text_raises_nothing(text: str) -> None:
    assert MachineName.parse(f"pf-a-{text}") is None or text[0].isdecimal()
    assert MachineName.parse(text) is None or text.startswith("pf-")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "pf",
        "pf-ab12cd",
        "pf-ab12cd-",
        "pf-ab12cd-x",
        "pf-ab12cd-1x",
        "pf-ab12cd-1x-" + TOKEN.hex,
        "pf-ab12cd-²-" + TOKEN.hex,
        "pf-ab12cd-٣-" + TOKEN.hex,
        "pf-ab12cd--1-" + TOKEN.hex,
        "pf-ab12cd-" + "1" * 18 + "-" + TOKEN.hex,
        "pf-AB12CD-1-" + TOKEN.hex,
        "pf-" + "a" * 13 + "-1-" + TOKEN.hex,
        "xpf-ab12cd-1-" + TOKEN.hex,
        "mine-1-" + TOKEN.hex,
    ],
)
def test_an_odd_name_is_not_one_of_ours(name: str) -> None:
    assert MachineName.parse(name) is None


@pytest.mark.parametrize(
    "rest", ["", "-", "-t1", "-" + TOKEN.hex.upper(), "-" + TOKEN.hex + "\n", "-x-" + TOKEN.hex]
)
def test_a_name_without_a_token_still_names_its_fleet(rest: str) -> None:
    name = MachineName.parse(f"pf-ab12cd-7{rest}")
    assert name == MachineName(slug="ab12cd", fleet_id=7, token=None)
    assert str(name) == "pf-ab12cd-7"


@pytest.mark.parametrize(
    ("name", "token"), [("pf-7-0a1b", "0a1b"), ("pf-0a1b", "0a1b"), ("mine", ""), ("", "")]
)
def test_the_token_is_the_last_part_of_a_name(name: str, token: str) -> None:
    assert token_of(name) == token


@pytest.mark.parametrize(("name", "short"), [("pf-7-0123456789", "01234567"), ("mine", "mine")])
def test_a_short_name_is_never_empty(name: str, short: str) -> None:
    assert short_name(name, 8) == short


@pytest.mark.parametrize(
    "text", ["", "t1", str(TOKEN), "{" + TOKEN.hex + "}", TOKEN.hex[:-1] + "g"]
)
def test_only_32_hexadecimal_digits_are_a_token(text: str) -> None:
    assert read_token(TOKEN.hex) == TOKEN
    assert read_token(text) is None


def test_the_token_is_the_end_of_a_name() -> None:
    parsed = MachineName.parse(f"pf-a-1-{'ab' * 16}")
    assert parsed is not None
    assert parsed.token == uuid.UUID("ab" * 16)
    assert str(parsed) == f"pf-a-1-{'ab' * 16}"
