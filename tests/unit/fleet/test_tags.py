"""Tags of a fleet: how people type them, and which are refused."""

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from fleet.models import tags

KEYS = st.from_regex(tags.KEY, fullmatch=True).filter(
    lambda key: not key.lower().startswith(tags.OURS) and "\n" not in key
)
VALUES = st.text(st.characters(categories=["L", "N", "P"], exclude_characters=","), min_size=1)


@given(st.dictionaries(KEYS, VALUES.filter(lambda v: len(v) <= 100), max_size=20))
def test_what_the_form_shows_is_what_it_reads(found: dict[str, str]) -> None:
    tags.check(found)
    assert tags.read(tags.written(found)) == found
    assert not tags.TagsFormField().has_changed(found, tags.written(found))


def test_tags_may_be_separated_by_commas_and_lines() -> None:
    assert tags.read(" team = search, env=prod\n\nurl=a=b ") == {
        "team": "search", "env": "prod", "url": "a=b",
    }  # fmt: skip
    assert tags.read("") == {}


@pytest.mark.parametrize(("text", "says"), [("team", "key=value"), ("a=1,a=2", "twice")])
def test_a_text_that_is_no_tag_says_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        tags.read(text)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([], "keys and values"),
        ({f"k{n}": "v" for n in range(21)}, "at most 20"),
        ({"": "v"}, "cannot be a key"),
        ({"-a": "v"}, "cannot be a key"),
        ({"a b": "v"}, "cannot be a key"),
        ({"a" * 64: "v"}, "cannot be a key"),
        ({"Podfleet/user": "eve"}, "cannot be a key"),
        ({"a": ""}, "1 to 100"),
        ({"a": "v" * 101}, "1 to 100"),
        ({"a": 1}, "a text"),
        ({"a": "x,y"}, "no comma"),
        ({"a": "x\ny"}, "printable"),
    ],
)
def test_a_tag_that_cannot_be_shown_is_refused(found: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        tags.check(found)
