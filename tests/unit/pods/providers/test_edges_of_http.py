"""Single conditions of the HTTP client, with answers that come from memory instead of a socket."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
import stamina

from pods.providers import http, retrying
from pods.providers.errors import RateLimited, Unavailable
from pods.providers.http import Timeouts, VendorHttp
from tests.support.from_memory import Answers, answer_from_memory

KEY = "rk_0123456789SECRET"

# Makes a client whose requests get these answers.
Connect = Callable[..., VendorHttp]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """A client whose requests get an answer at once."""

    def make(answer: Answers | httpx.Response, **how: Any) -> VendorHttp:
        answer_from_memory(monkeypatch, answer if callable(answer) else lambda _: answer)
        return VendorHttp(base_url="https://api.example", secret=KEY, **how)

    with stamina.set_testing(True, attempts=1):
        yield make


def test_only_a_request_with_json_has_a_body_and_its_type(connect: Connect) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    client = connect(answer)
    client.call("GET", "/things")
    client.call("POST", "/things", json=[])
    assert [request.content for request in asked] == [b"", b"[]"]
    assert [request.headers.get("content-type") for request in asked] == [None, "application/json"]


def test_a_call_may_take_the_time_that_it_names_and_else_that_of_its_client(
    connect: Connect,
) -> None:
    reads: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        reads.append(request.extensions["timeout"]["read"])
        return httpx.Response(200)

    client = connect(answer, timeouts=Timeouts(read=11, total=100))
    client.call("GET", "/")
    client.call("POST", "/", timeouts=Timeouts(read=77, total=100))
    assert reads == [11, 77]


def test_what_cannot_be_sent_as_json_is_named(connect: Connect) -> None:
    with pytest.raises(TypeError, match="set cannot be sent as JSON"):
        connect(httpx.Response(200)).call("POST", "/", json={"many": {1}})


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({}, 7.0), ({"Retry-After": "12"}, 12.0)],
    ids=["the text", "the header before the text"],
)
def test_a_rate_limit_is_read_from_its_text_where_no_header_names_it(
    connect: Connect, headers: dict[str, str], wait: float
) -> None:
    told: list[str] = []

    def wait_in(text: str) -> float:
        told.append(text)
        return 7.0

    client = connect(httpx.Response(429, text="wait 7 s", headers=headers), wait_in=wait_in)
    with pytest.raises(RateLimited) as caught:
        client.call("GET", "/")
    assert caught.value.retry_after == wait
    assert told == ([] if headers else ["wait 7 s"])


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "Sat, 01 Jan 2000 00:00:00 GMT", "x-ratelimit-reset": "99999999999"}, 0.0),
        ({"retry-after": "", "x-ratelimit-reset": "100"}, None),
        ({"retry-after": " ", "x-ratelimit-reset": "100000000"}, 0.0),
    ],
    ids=["the date before the reset", "no time", "the reset"],
)
def test_the_wait_is_what_the_first_header_with_a_time_says(
    headers: dict[str, str], wait: float | None
) -> None:
    assert retrying.retry_after(headers) == wait


@pytest.mark.parametrize("status", [408, 500])
def test_a_fault_of_the_server_is_unavailable_also_with_json(connect: Connect, status: int) -> None:
    with pytest.raises(Unavailable, match=f"answered {status}$"):
        connect(httpx.Response(status, json={"title": "A problem"})).call("GET", "/")


def test_an_answer_that_nothing_changed_is_returned(connect: Connect) -> None:
    answer = connect(httpx.Response(304)).call("POST", "/containers/1/start")
    assert (answer.status, answer.body) == (304, None)


def test_a_success_is_returned_whole_and_an_error_is_shortened(connect: Connect) -> None:
    long = {"text": "x" * 600}
    assert connect(httpx.Response(200, json=long)).call("GET", "/").body == long
    assert connect(httpx.Response(400, json=long)).call("GET", "/").body == {"text": "x" * 500}


def test_an_error_without_json_is_returned_where_it_is_wanted_and_a_success_never(
    connect: Connect,
) -> None:
    refused = connect(httpx.Response(404, text=f"no {KEY}"), plain_errors=True).call("GET", "/")
    assert (refused.status, refused.body) == (404, "no ***")
    with pytest.raises(Unavailable, match=r"answered 200 with 2 bytes of .*, which is not JSON"):
        connect(httpx.Response(200, text="no"), plain_errors=True).call("GET", "/")


@pytest.mark.parametrize(
    "body", [{}, {"message": 7}, {"message": ""}, ["message"], "message", None]
)
def test_a_5xx_without_words_is_quoted_without_them(connect: Connect, body: object) -> None:
    with pytest.raises(Unavailable, match=r"answered 500$"):
        connect(httpx.Response(500, json=body), quote_faults=True).call("POST", "/")


def test_a_5xx_that_is_not_json_is_quoted_without_words(connect: Connect) -> None:
    with pytest.raises(Unavailable, match=r"answered 500$"):
        connect(httpx.Response(500, text="<html>"), quote_faults=True).call("POST", "/")


def test_the_lines_of_a_stream_are_values_and_an_error_is_one_value(connect: Connect) -> None:
    lines = connect(httpx.Response(200, text='{"a": 0.1}\n\n \r\n2\n'))
    assert lines.call("POST", "/", stream=True).body == [{"a": Decimal("0.1")}, 2]
    error = connect(httpx.Response(404, text='{\n"message": "no"\n}'))
    assert error.call("POST", "/", stream=True).body == {"message": "no"}


class Clock:
    """The time module of http.py, one second later at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


def parts(how_many: int, size: int = 1) -> Iterator[bytes]:
    yield from (b" " * size for _ in range(how_many))


def test_a_body_that_does_not_end_is_given_up_at_the_deadline(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "time", Clock())
    client = connect(httpx.Response(200, content=parts(1000)), timeouts=Timeouts(total=100))
    with pytest.raises(Unavailable, match="did not end in time"):
        client.call("POST", "/")


def test_a_log_is_cut_off_at_the_limit_of_a_body_and_at_its_deadline(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_LIMIT", 100)
    client = connect(httpx.Response(200, content=parts(1000, size=60)))
    _, heard = client.tail("/logs", params={}, quiet=1, total=100)
    assert len(heard) == 120
    monkeypatch.setattr(http, "time", Clock())
    client = connect(httpx.Response(200, content=parts(1000)))
    _, heard = client.tail("/logs", params={}, quiet=1, total=20)
    assert 1 < len(heard) < 30


def test_an_error_of_a_log_has_its_words_and_no_bytes(connect: Connect) -> None:
    client = connect(httpx.Response(404, json={"message": "no"}))
    answer, heard = client.tail("/logs", params={}, quiet=1, total=5)
    assert (answer.status, answer.body, heard) == (404, {"message": "no"}, b"")


def test_a_broken_link_without_words_is_named_by_its_kind(connect: Connect) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")

    with pytest.raises(Unavailable, match=r"GET /: no answer \(ReadTimeout\)$"):
        connect(answer).call("GET", "/")


def test_no_repr_of_a_client_or_an_answer_has_the_key(connect: Connect) -> None:
    client = connect(httpx.Response(200, json={"key": KEY}))
    assert KEY not in repr(client) + repr(client.call("GET", "/"))
    assert json.dumps(client.call("GET", "/").body) == f'{{"key": "{KEY}"}}'
