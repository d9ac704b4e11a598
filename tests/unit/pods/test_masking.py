"""What is taken out of texts and values that people read."""

from typing import Any

import pytest

from pods.masking import without_passwords, without_secrets, without_values


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "***"),
        ("", ""),
        (7, 7),
        (None, None),
        (["a", 7], ["***", 7]),
        ({"a": {"b": ["c"]}}, {"a": {"b": ["***"]}}),
    ],
)
def test_each_text_within_a_value_is_masked_and_its_shape_stays(value: Any, shown: Any) -> None:
    assert without_values(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"api_key": "k", "region": "eu"}, {"api_key": "***", "region": "eu"}),
        ([{"token": ["t"]}, "redis://u:p@h"], [{"token": ["***"]}, "redis://***@h"]),
        (7, 7),
    ],
)
def test_values_with_a_secret_name_and_passwords_in_addresses_are_masked(
    value: Any, shown: Any
) -> None:
    assert without_secrets(value) == shown


def test_passwords_of_addresses_queries_and_headers_are_masked() -> None:
    said = "redis://u:p@h/0 https://h/?api_key=k&a=1 Authorization: Bearer abc"
    assert without_passwords(said) == (
        "redis://***@h/0 https://h/?api_key=***&a=1 Authorization: Bearer ***"
    )
