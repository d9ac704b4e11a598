"""What Vast.ai's refusals mean: each row of the error table in vastai.md."""

from typing import Any

import pytest

from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from pods.providers.vastai.refusals import DoubtfulFunds, Route, error_of, read, wait_in

BAD_KEY = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
GONE = "error 404/3603: no_such_ask Instance type by id 1234567 is not available."
ASK, INSTANCE, LOGS, LIST = Route.ASK, Route.INSTANCE, Route.LOGS, Route.LIST

TABLE: list[tuple[Route, int, Any, type[ProviderError]]] = [
    # keys
    (INSTANCE, 403, {"error": "auth_error", "msg": "This action requires login."}, AuthFailed),
    (INSTANCE, 404, BAD_KEY, AuthFailed),
    (INSTANCE, 401, BAD_KEY, AuthFailed),
    (ASK, 404, BAD_KEY, AuthFailed),
    (LIST, 404, BAD_KEY, AuthFailed),
    (LOGS, 404, BAD_KEY, AuthFailed),
    (Route.SEARCH, 404, {"msg": "Invalid user key"}, AuthFailed),
    (INSTANCE, 403, {"error": "scope", "msg": "missing permission"}, AuthFailed),
    (INSTANCE, 401, {"detail": "no"}, AuthFailed),
    (INSTANCE, 404, "Session expired. Please log in again.", AuthFailed),
    (INSTANCE, 404, {"msg": "Session expired. Please log in again."}, AuthFailed),
    # offers
    (ASK, 404, {"error": "invalid_args", "msg": GONE, "ask_id": 1234567}, NoCapacity),
    (ASK, 410, {"error": "no_such_ask", "msg": "error 410/3907: gone"}, NoCapacity),
    (ASK, 400, {"error": "invalid_args", "msg": "no_such_ask"}, NoCapacity),
    (ASK, 400, "no_such_ask: plain text", NoCapacity),
    (ASK, 404, {"error": "not_found", "msg": "?"}, NoCapacity),
    (ASK, 400, {"error": "invalid_price", "msg": "bid too low"}, NoCapacity),
    (ASK, 400, {"error": "invalid_args", "msg": "error 400/3467: Invalid args: disk"}, Refused),
    (ASK, 400, {"error": "no_ssh_key_for_vm", "msg": ""}, Refused),
    (ASK, 400, {"error": "not_found", "msg": "?"}, Refused),
    (ASK, 403, {"error": "invalid_args", "msg": "Offer 7 is not your own."}, Refused),
    # money
    (ASK, 400, {"error": "insufficient_credit", "msg": "Your account lacks it"}, QuotaExceeded),
    (ASK, 403, {"error": "spend_rate_limit", "msg": "new account"}, QuotaExceeded),
    (INSTANCE, 400, {"error": "missing_billing", "msg": ""}, QuotaExceeded),
    (ASK, 400, {"msg": "insufficient_credit"}, QuotaExceeded),
    (ASK, 400, {"error": "x", "msg": "Your credit does not suffice"}, DoubtfulFunds),
    (ASK, 402, {"message": "Insufficient funds"}, DoubtfulFunds),
    (INSTANCE, 400, {"error": "x", "msg": "Your credit does not suffice"}, Refused),
    # labels
    (INSTANCE, 400, {"error": "label_too_long", "msg": "Please limit"}, Refused),
    # instances
    (INSTANCE, 404, {"error": "no_such_instance", "msg": "Instance 7 not found."}, NotFound),
    (INSTANCE, 404, {"error": "not_found", "msg": "Instance not found"}, NotFound),
    (INSTANCE, 404, {"error": "surprise", "msg": "not found"}, Unavailable),
    (INSTANCE, 404, {}, Unavailable),
    (INSTANCE, 404, "<html>Not Found</html>", Unavailable),
    (INSTANCE, 403, "<html>Attention required</html>", Unavailable),
    (INSTANCE, 400, {"error": "not_found", "msg": "?"}, Refused),
    (INSTANCE, 200, {"success": False, "msg": "…, state change queued."}, NoCapacity),
    (INSTANCE, 200, {"success": False, "msg": "something else"}, Unavailable),
    (LOGS, 404, {"error": "invalid_id", "msg": "Invalid instance id."}, NotFound),
    (LOGS, 403, {"error": "not_authorized", "msg": "Not authorized"}, NotFound),
    (INSTANCE, 400, {"error": "invalid_id", "msg": "Invalid instance id."}, Refused),
    # the list says nothing about a single machine
    (LIST, 404, {"error": "no_such_instance", "msg": ""}, Unavailable),
    (LIST, 404, {"error": "not_found", "msg": ""}, Unavailable),
    (LIST, 410, {"success": False, "error": "deprecated_endpoint", "msg": ""}, Unavailable),
    (LIST, 400, {"error": "invalid_token", "msg": "invalid after_token"}, Unavailable),
    (LIST, 200, {"success": False}, Unavailable),
    (LIST, 200, {"success": False, "msg": "state change queued."}, Unavailable),
]


@pytest.mark.parametrize(("route", "status", "body", "error"), TABLE)
def test_each_refusal_becomes_the_error_that_its_words_allow(
    route: Route, status: int, body: Any, error: type[ProviderError]
) -> None:
    assert type(error_of(read(status, body), route)) is error


def test_only_a_code_for_it_says_that_an_instance_is_gone() -> None:
    bodies: list[Any] = [
        None,
        "",
        [],
        {},
        {"error": 7},
        {"msg": "not_found"},
        BAD_KEY,
        "no_such_instance?",
    ]
    assert not [b for b in bodies if isinstance(error_of(read(404, b), INSTANCE), NotFound)]


@pytest.mark.parametrize("field", ["msg", "message", "detail", "body"])
def test_the_text_is_read_from_each_field_that_can_have_it(field: str) -> None:
    assert read(400, {field: "why"}).text == "why"


def test_an_answer_without_words_says_so() -> None:
    assert str(read(404, {})) == "Vast.ai answered 404: nothing"


def test_a_message_has_no_control_characters_and_a_bounded_length() -> None:
    message = str(error_of(read(400, {"error": "x\x1b", "msg": "a\r\nb" + "c" * 9000}), ASK))
    assert message.isprintable()
    assert len(message) < 700


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("API requests too frequent: endpoint threshold=2.0*1.0", 2.0),
        ('{"detail":"API requests too frequent endpoint threshold=4.5"}', 4.5),
        ('{"error":"rate_limit_exceeded","msg":"…","retry_after": 7}', 7.0),
        ("slow down", None),
        ("", None),
    ],
)
def test_a_rate_limit_is_waited_for_as_long_as_its_text_says(
    text: str, seconds: float | None
) -> None:
    assert wait_in(text) == seconds


def test_a_used_up_search_quota_lasts_until_midnight_utc() -> None:
    quarter_past_ten_at_night = 1_763_936_100.0  # 2025-11-23T22:15:00Z
    text = '{"error":"search_quota_exceeded"}'
    assert wait_in(text, wall_clock=lambda: quarter_past_ten_at_night) == 105 * 60
