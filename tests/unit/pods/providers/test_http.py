"""The HTTP client of the adapters, against a real server on this machine."""

import json
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest
import stamina

from config.env import ROOT
from pods.emulators.base import Reply, Request, Server
from pods.providers import http
from pods.providers.clients import CLIENTS
from pods.providers.errors import ProviderError, RateLimited, Unavailable
from pods.providers.http import Timeouts, VendorHttp
from tests.support.programs import command
from tests.support.waiting import patience

KEY = "rk_0123456789SECRET"
SHORT = Timeouts(connect=1, read=0.3, write=1, pool=1, total=2)


class Vendor:
    """A vendor that gives the answers of a test."""

    name = "vendor"

    def __init__(self) -> None:
        self.reply: Callable[[Request], Reply] = lambda _: Reply(json={"fine": True})

    def answer(self, request: Request) -> Reply:
        return self.reply(request)

    def tick(self) -> None:
        pass


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def server(vendor: Vendor) -> Iterator[Server]:
    with Server(vendor) as server:
        yield server
        CLIENTS.close()
    assert not server.complaints


@pytest.fixture
def client(server: Server) -> VendorHttp:
    return VendorHttp(base_url=server.url, secret=KEY, timeouts=SHORT)


@pytest.fixture
def no_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


def always(reply: Reply) -> Callable[[Request], Reply]:
    return lambda _: reply


def in_turn(*replies: Reply) -> Callable[[Request], Reply]:
    left = iter(replies)
    return lambda _: next(left)


def everything_in(error: BaseException) -> str:
    """Everything that a report of the error could show: texts, arguments, causes, contexts."""
    texts: list[str] = []
    while error is not None:
        texts += [repr(error), str(error), repr(error.args), repr(vars(error))]
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return " ".join(texts)


def test_a_request_has_the_key_and_a_user_agent_that_is_not_a_librarys(client, server):
    client.call("GET", "/things", params={"n": 1})
    sent = server.exchanges[0].request
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["user-agent"].startswith("podfleet/")
    assert KEY not in sent.target


def test_numbers_are_read_as_decimals(client, vendor):
    vendor.reply = always(Reply(text='{"price": 0.1, "many": [2.675, 3]}'))
    body = client.call("GET", "/").body
    assert body == {"price": Decimal("0.1"), "many": [Decimal("2.675"), 3]}


def test_decimals_are_sent_as_numbers(client, server):
    client.call("POST", "/", json={"price": Decimal("0.21")})
    assert server.exchanges[0].request.raw == b'{"price": 0.21}'


def test_an_answer_without_a_body_has_none(client, vendor):
    vendor.reply = always(Reply(status=204))
    assert client.call("DELETE", "/things/1").body is None


def test_a_refusal_is_returned_for_the_adapter_to_sort(client, vendor):
    vendor.reply = always(Reply(status=422, json={"detail": "no"}))
    answer = client.call("POST", "/", json={})
    assert (answer.status, answer.ok, answer.body) == (422, False, {"detail": "no"})


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 408])
def test_a_fault_of_the_server_is_unavailable(client, vendor, status, no_waits):
    vendor.reply = always(Reply(status=status, text="<html>"))
    with pytest.raises(Unavailable, match=str(status)):
        client.call("GET", "/")


def test_a_get_is_tried_again_and_a_post_never(client, vendor, server):
    vendor.reply = in_turn(Reply(status=503), Reply(status=502), Reply(json=1), Reply(status=503))
    assert client.call("GET", "/").body == 1
    with pytest.raises(Unavailable):
        client.call("POST", "/", json={})
    assert (server.calls("GET"), server.calls("POST")) == (3, 1)


def test_a_call_that_the_adapter_calls_repeatable_is_retried(client, vendor, server, no_waits):
    vendor.reply = in_turn(Reply(status=503), Reply(json=1))
    assert client.call("POST", "/action", json={}, repeatable=True).body == 1


def test_a_get_whose_answer_is_lost_is_asked_again(client, server, no_waits):
    server.faults.lose_answer("GET", "/", times=2)
    assert client.call("GET", "/").ok
    assert server.calls() == 3


def test_a_post_whose_answer_is_lost_is_unavailable_and_sent_once(client, server):
    server.faults.lose_answer("POST", "/")
    with pytest.raises(Unavailable):
        client.call("POST", "/", json={})
    assert server.calls() == 1


def test_nobody_listening_is_unavailable(no_waits):
    with pytest.raises(Unavailable, match=r"ConnectError.*refused"):
        VendorHttp(base_url="http://127.0.0.1:1", secret=KEY, timeouts=SHORT).call("GET", "/")


def test_a_slow_answer_is_unavailable_within_the_timeout(client, server):
    late = threading.Event()
    server.faults.hold("POST", "/", late)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="ReadTimeout"):
        client.call("POST", "/", json={})
    assert time.monotonic() - began < patience(5)
    late.set()


def test_an_answer_that_comes_byte_by_byte_is_given_up_at_the_deadline(server, vendor):
    def drip(closing: threading.Event) -> Iterator[bytes]:
        while not closing.wait(0.05):
            yield b" "

    vendor.reply = always(Reply(stream=drip))
    patient = Timeouts(connect=1, read=1, write=1, pool=1, total=0.5)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="did not end in time"):
        VendorHttp(base_url=server.url, timeouts=patient).call("POST", "/")
    assert time.monotonic() - began < patience(5)


def test_an_endless_body_is_given_up(client, vendor, monkeypatch, no_waits):
    monkeypatch.setattr(http, "BODY_LIMIT", 1000)
    vendor.reply = always(Reply(text=json.dumps("x" * 2000)))
    with pytest.raises(Unavailable, match="longer than"):
        client.call("GET", "/")


@pytest.mark.parametrize(
    "text",
    ["<html>error 1010</html>", '{"pods": [', "NaN", '{"a": Infinity}', "\x00", "[" * 100_000],
)
@pytest.mark.parametrize("status", [200, 403])
def test_what_is_no_json_is_unavailable_whatever_its_status(client, vendor, text, status, no_waits):
    vendor.reply = always(Reply(status=status, text=text, content_type="text/html"))
    with pytest.raises(Unavailable, match="not JSON"):
        client.call("GET", "/")


def test_a_redirect_is_not_followed(client, vendor, server, no_waits):
    with Server(Vendor()) as elsewhere:
        vendor.reply = always(Reply(status=308, headers={"Location": f"{elsewhere.url}/stolen"}))
        with pytest.raises(Unavailable, match="308, which is not followed"):
            client.call("GET", "/")
        assert elsewhere.calls() == 0


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (lambda: {"Retry-After": "12"}, 12),
        (lambda: {"Retry-After": "3600"}, 3600),
        (lambda: {"Retry-After": http_date(90)}, 90),
        (lambda: {"Retry-After": http_date(-90)}, 0),
        (lambda: {"X-RateLimit-Reset": str(int(time.time()) + 300)}, 300),
        (lambda: {"Retry-After": "soon"}, None),
        (dict, None),
    ],
)
def test_a_rate_limit_says_how_long_to_wait(client, vendor, headers, seconds):
    vendor.reply = always(Reply(status=429, text="<html>", headers=headers()))
    with pytest.raises(RateLimited) as caught:
        client.call("POST", "/", json={})
    if seconds is None:
        assert caught.value.retry_after is None
    else:
        assert caught.value.retry_after == pytest.approx(seconds, abs=30 if seconds else 0)


def test_a_call_waits_for_a_short_rate_limit_and_not_for_a_long_one(client, vendor, server):
    vendor.reply = in_turn(Reply(status=429, headers={"Retry-After": "1"}), Reply(json=1))
    began = time.monotonic()
    assert client.call("GET", "/").body == 1
    assert time.monotonic() - began >= 1
    vendor.reply = always(Reply(status=429, headers={"Retry-After": "30"}))
    with pytest.raises(RateLimited):
        client.call("GET", "/")
    assert server.calls() == 3


ECHOES = {
    "in a text": Reply(status=401, json={"detail": f"bad key {KEY}"}),
    "as a header": Reply(status=400, json={"detail": f"Authorization: Bearer {KEY}x"}),
    "in a list": Reply(status=422, json={"errors": [f"$.key: {KEY}"]}),
    "as a name": Reply(status=422, json={KEY: "unexpected"}),
    "in no json": Reply(status=403, text=KEY, content_type=f"text/{KEY}"),
    "in a request id": Reply(status=500, headers={"x-request-id": KEY}),
    "in a broken body": Reply(status=200, text=f'{{"key": "{KEY}"'),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_the_key_is_in_no_error_answer_and_no_log(client, vendor, echo, caplog, no_waits):
    vendor.reply = always(echo)
    caplog.set_level(logging.DEBUG)
    shown = repr(client)
    try:
        answer = client.call("GET", "/")
        shown += repr(answer) + repr(answer.body) + answer.what
    except ProviderError as exc:
        shown += everything_in(exc)
    assert KEY not in shown
    assert KEY not in caplog.text


@pytest.mark.parametrize("loss", ["lose_answer", "lose_request"])
def test_a_broken_link_leaves_no_trace_of_the_key_in_the_error(client, server, loss):
    getattr(server.faults, loss)("POST", "/")
    with pytest.raises(Unavailable) as caught:
        client.call("POST", "/", json={})
    assert KEY not in everything_in(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_values_to_hide_are_in_no_error_in_any_form(client, vendor):
    value = 's3cr"et/+ä'
    echoed = f"{value} {json.dumps(value)} s3cr%22et%2F%2B%C3%A4"
    vendor.reply = always(Reply(status=422, json={"detail": echoed}))
    answer = client.call("POST", "/", json={}, hide=[value])
    assert answer.body == {"detail": '*** "***" ***'}


def test_credentials_in_addresses_and_control_characters_are_cleaned(client, vendor):
    text = "redis://user:pass@host/0 \x1b[31mred\x1b[0m \u202egnp.exe"
    vendor.reply = always(Reply(status=400, json={"detail": text}))
    detail = client.call("POST", "/", json={}).body["detail"]
    assert "pass" not in detail
    assert detail.startswith("redis://***@host/0")
    assert not any(c in detail for c in "\x1b\u202e")


@pytest.mark.parametrize("secret", ["rk_1 2", "rk_1\n2", "ключ", "rk_1\r\nX: 1"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(secret):
    with pytest.raises(ValueError, match="the key has") as caught:
        VendorHttp(base_url="https://api.example", secret=secret)
    assert secret not in str(caught.value)


def test_connections_are_reused_by_every_adapter_of_an_account(server):
    for _ in range(5):
        VendorHttp(base_url=server.url, secret=KEY).call("GET", "/")
    assert server.connected == 1


def test_accounts_do_not_share_connections(server):
    for secret in ("one", "two"):
        VendorHttp(base_url=server.url, secret=secret).call("GET", "/")
    assert server.connected == 2


def test_a_forked_worker_opens_its_own_connection(server):
    subprocess.run(command("fork", server.url), check=True, timeout=patience(60), cwd=ROOT)
    assert server.calls() == 3
    assert server.connected == 2


def test_a_proxy_of_the_network_is_not_asked_for_this_machine(client, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert client.call("GET", "/").ok


def test_a_stream_is_read_until_it_is_quiet(server, vendor):
    def stream(closing: threading.Event) -> Iterator[bytes]:
        yield b"data: 1\n\n"
        closing.wait(0.6)  # only the quiet after the headers may end it, not their timeout
        yield b"data: 2\n\n"
        closing.wait(patience(30))

    vendor.reply = always(Reply(stream=stream, content_type="text/event-stream"))
    client = VendorHttp(base_url=server.url, secret=KEY)
    began = time.monotonic()
    answer, heard = client.tail("/logs", params={}, quiet=2.0, total=patience(20))
    assert (answer.status, heard) == (200, b"data: 1\n\ndata: 2\n\n")
    assert 2.5 < time.monotonic() - began < patience(10)


def test_a_stream_that_never_is_quiet_is_left_at_the_deadline(server, vendor):
    def stream(closing: threading.Event) -> Iterator[bytes]:
        while not closing.wait(0.05):
            yield b": here\n"

    vendor.reply = always(Reply(stream=stream))
    began = time.monotonic()
    _, heard = VendorHttp(base_url=server.url).tail("/logs", params={}, quiet=1.0, total=0.5)
    assert heard.startswith(b": here\n")
    assert time.monotonic() - began < patience(5)


def test_a_stream_that_is_refused_says_so(client, vendor):
    vendor.reply = always(Reply(status=404, json={"detail": "no"}))
    answer, heard = client.tail("/logs", params={}, quiet=1.0, total=5)
    assert (answer.status, answer.body, heard) == (404, {"detail": "no"}, b"")


def test_the_words_of_a_5xx_are_quoted_only_where_they_are_wanted(
    server: Server, vendor: Vendor
) -> None:
    vendor.reply = lambda _: Reply(status=500, json={"message": f"no disk for {KEY}"})
    quoting = VendorHttp(base_url=server.url, secret=KEY, timeouts=SHORT, quote_faults=True)
    with pytest.raises(Unavailable, match=r"answered 500: no disk for \*\*\*$"):
        quoting.call("POST", "/x")
    with pytest.raises(Unavailable, match=r"answered 500$"):
        VendorHttp(base_url=server.url, secret=KEY, timeouts=SHORT).call("POST", "/x")
