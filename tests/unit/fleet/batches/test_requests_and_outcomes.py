"""The pure parts of batches: lines of requests, lines of answers, and the bits between them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from fleet.batches import outcomes
from fleet.batches.creating import window_of
from fleet.batches.requests import BadLine, numbered, request_of
from fleet.batches.settled import Settled

URL = "/v1/embeddings"


def line(**changes: Any) -> bytes:
    wanted = {"custom_id": "a", "method": "POST", "url": URL, "body": {"input": "x"}}
    return json.dumps({**wanted, **changes}).encode()


def test_a_line_is_a_request_with_its_body_as_json() -> None:
    found = request_of(line(body={"input": "é", "n": 1.5}), URL)
    assert (found.custom_id, found.body.decode()) == ("a", '{"input":"é","n":1.5}')


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"{", "invalid_json_line"),
        (b"[1]", "invalid_json_line"),
        (b"\xff", "invalid_json_line"),
        (line(body={"n": 1}).replace(b": 1}", b": 1e999}"), "invalid_json_line"),
        (line(custom_id="\ud800"), "invalid_json_line"),
        (line(custom_id=7), "invalid_custom_id"),
        (line(custom_id=""), "invalid_custom_id"),
        (line(custom_id="x" * 513), "invalid_custom_id"),
        (line(method="GET"), "invalid_method"),
        (line(url="/v1/chat/completions"), "mismatched_endpoint"),
        (line(body=None), "missing_body"),
    ],
)
def test_a_wrong_line_says_what_is_wrong(wrong: bytes, code: str) -> None:
    with pytest.raises(BadLine) as caught:
        request_of(wrong, URL)
    assert caught.value.code == code


def test_the_number_and_the_custom_id_come_back_from_an_item() -> None:
    assert numbered("17:é:b\n".encode()) == (17, "é:b\n")
    assert (numbered(b"17"), numbered(b"x:y"), numbered(b"")) == (None, None, None)


@given(st.integers(1, 70), st.lists(st.integers(-2, 75)))
def test_a_request_is_settled_once_and_stays_so(total: int, numbers: list[int]) -> None:
    settled, seen = Settled(b"", total), set[int]()
    for number in numbers:
        new = 0 <= number < total and number not in seen
        assert settled.settle(number) is new
        seen |= {number} if new else set()
        settled = Settled(settled.stored(), total)
    assert {n for n in range(total) if n in settled} == seen


def test_an_answer_keeps_its_digits_on_one_line() -> None:
    body = b'{"embedding": [0.10,\n 1E5], "x": 12345678901234567890.10}'
    found = outcomes.answered("r1", 'a"b', "1-0", body)
    assert (found.good, found.line.count(b"\n")) == (True, 1)
    assert b'"body": {"embedding": [0.10,  1E5], "x": 12345678901234567890.10}' in found.line
    row = json.loads(found.line)
    assert (row["custom_id"], row["error"], row["response"]["status_code"]) == ('a"b', None, 200)


@pytest.mark.parametrize("result", [b"[1]", b"", b"no", b"\xff", b'{"a": NaN}', b'{"a": "\xff"}'])
def test_what_is_not_a_json_object_is_an_error(result: bytes) -> None:
    found = outcomes.answered("r1", "a", "1-0", result)
    assert (found.good, json.loads(found.line)["error"]["code"]) == (False, "invalid_response")


def test_a_body_with_an_error_is_a_refusal() -> None:
    found = outcomes.answered("r1", "a", "1-0", b'{"error": {"message": "no"}}')
    row = json.loads(found.line)
    assert (found.good, row["response"]["status_code"], row["error"]) == (False, 400, None)
    assert outcomes.answered("r1", "a", "1-0", b'{"error": null}').good


def test_a_window_is_hours_or_days_up_to_thirty_days() -> None:
    assert (window_of("24h"), window_of("30d")) == (timedelta(days=1), timedelta(days=30))
    for wrong in ("", "0h", "31d", "721h", "24", "1w", "24h\n"):
        with pytest.raises(ValidationError):
            window_of(wrong)
