"""Which typed JSON is refused, and in which words."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from pods.base.json_words import why_no_json
from pods.base.typed_json import check_object


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (["a"], "give names and values"),
        ({"n": float("inf")}, "a number is too large"),
        ({"t": "a\0b"}, "the character NUL"),
    ],
)
def test_what_is_no_object_or_cannot_be_stored_is_refused(value: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says) as refused:
        check_object("options", value)
    assert list(refused.value.error_dict) == ["options"]


def test_an_object_is_not_refused() -> None:
    check_object("options", {"name": "value", "n": 1, "inner": {"list": [None]}})


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RecursionError("maximum recursion depth exceeded"), "it is nested too deeply"),
        (ValueError("Expecting value: line 1"), "Expecting value: line 1"),
    ],
)
def test_why_a_text_is_no_json(error: Exception, says: str) -> None:
    assert why_no_json(error) == says
