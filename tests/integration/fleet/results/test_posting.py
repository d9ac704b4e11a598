"""Results are posted to a callback at least once, in order, and none is skipped."""

import json
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.message import Message
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from fleet.results import posting
from fleet.results.posting import BadTarget, Posted
from pods.base import egress
from tests.support.factories import a_fleet
from tests.support.results import STREAM, publish
from tests.support.webhook import Webhook

SHORT = timedelta(seconds=2)


def post(client: redis.Redis, stream: str, url: str, **options: Any) -> Posted:
    """Post as the command does: private networks are allowed if the settings allow them."""
    private_too = django_settings.ALLOW_PRIVATE_WEBHOOKS
    return posting.post(client, stream, url, private_too=private_too, **options)


class Callback(Webhook):
    """A callback server that keeps what it receives and answers as the test tells it."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[dict[str, Any]]] = []
        self.keys: list[str] = []
        self.authorization: list[str] = []
        self.answer: Callable[[int], int] = lambda _: 204
        self.url = f"http://{self.address}/results"

    def take(self, body: bytes, headers: Message) -> int:
        self.batches.append([json.loads(row) for row in body.splitlines()])
        self.keys.append(headers["Idempotency-Key"])
        self.authorization.append(headers.get("Authorization", ""))
        return self.answer(len(self.batches))

    @property
    def items(self) -> list[str]:
        return [row["id"] for batch in self.batches for row in batch]


@pytest.fixture
def callback(settings: Any) -> Iterator[Callback]:
    settings.ALLOW_PRIVATE_WEBHOOKS = True
    made = Callback()
    with made.serving():
        yield made


def test_results_are_posted_in_order_in_batches_and_a_later_call_continues(
    client: redis.Redis, callback: Callback
) -> None:
    publish(client, *"abcde", result="[1]")
    assert post(client, STREAM, callback.url, batch=2, token="t0ken").batches == 3
    assert callback.items == list("abcde")
    assert callback.batches[0][0]["result"] == [1]
    assert set(callback.authorization) == {"Bearer t0ken"}
    publish(client, "f")
    assert post(client, STREAM, callback.url).items == 1
    assert callback.items == list("abcdef")
    other = callback.url + "/other"
    assert post(client, STREAM, other).items == 6  # each target continues at its own place


def test_a_lost_answer_sends_the_same_batch_again_under_the_same_key(
    client: redis.Redis, callback: Callback
) -> None:
    publish(client, "a", "b")
    callback.answer = lambda n: {1: 0, 2: 503, 3: 429}.get(n, 200)
    assert post(client, STREAM, callback.url).items == 2
    assert len(callback.batches) == 4
    assert len(set(callback.keys)) == 1


@pytest.mark.fault(60)
def test_a_refused_batch_is_not_skipped(client: redis.Redis, callback: Callback) -> None:
    publish(client, *"abc")
    callback.answer = lambda n: 403 if n == 2 else 200
    with pytest.raises(BadTarget, match=r"answers 403 .* nothing is skipped"):
        post(client, STREAM, callback.url, batch=1)
    callback.answer = lambda _: 200
    assert post(client, STREAM, callback.url, batch=1).items == 2
    assert callback.items == ["a", "b", "b", "c"]


@pytest.mark.fault(60)
def test_an_unavailable_callback_ends_the_call_and_no_result_is_lost(
    client: redis.Redis, callback: Callback
) -> None:
    publish(client, "a")
    callback.answer = lambda _: 502
    with pytest.raises(BadTarget, match="the callback is not available: it answers 502"):
        post(client, STREAM, callback.url, patience=SHORT)
    callback.answer = lambda _: 200
    assert post(client, STREAM, callback.url) == Posted(
        items=1, batches=1, after=callback.keys[-1].rpartition(":")[2]
    )


@pytest.mark.fault(65)
def test_a_callback_on_a_private_network_is_refused_before_any_request(
    client: redis.Redis, callback: Callback, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    publish(client, "a")
    for url in (
        callback.url,
        "http://169.254.169.254/latest",
        "http://localhost:1",
        "http://[::1]/",
    ):
        with pytest.raises(BadTarget, match="private network"):
            post(client, STREAM, url)
    for url in (
        "ftp://host.example/x",
        "file:///etc/passwd",
        "https://",
        "https://u:p@host.example",
        "",
        "http://[::1",
        "http://host.example:99999/",
        "http://host.example:x/",
        "http://host.example/a\x00b",
        "http://host.example/a\nb",
    ):
        with pytest.raises(BadTarget):
            post(client, STREAM, url)
    assert not callback.batches


@pytest.mark.fault(65)
def test_no_result_goes_to_a_name_that_becomes_private_after_the_check(
    client: redis.Redis, callback: Callback, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    answers = iter(["93.184.216.34", "93.184.216.34", "127.0.0.1", "127.0.0.1"])

    def rebinding(_host: str, port: Any, *_: Any, **__: Any) -> Any:
        """A name server that gives another answer after the checks."""
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port or 0))]

    monkeypatch.setattr(egress, "_look_up", rebinding)
    publish(client, "a")
    with pytest.raises(BadTarget, match=r"rebinding\.example is on a private network"):
        post(client, STREAM, callback.url.replace("127.0.0.1", "rebinding.example"))
    assert not callback.batches


@pytest.mark.fault(65)
def test_a_redirect_is_not_followed(client: redis.Redis, callback: Callback) -> None:
    publish(client, "a")
    callback.answer, callback.location = (lambda _: 307), "http://127.0.0.1:1/elsewhere"
    with pytest.raises(BadTarget, match="answers 307"):
        post(client, STREAM, callback.url)


def test_with_follow_later_results_are_posted_too(client: redis.Redis, callback: Callback) -> None:
    class Enough(Exception):
        pass

    def progress(items: int) -> None:
        if items == 1:
            publish(client, "b")
        if items == 2:
            raise Enough

    publish(client, "a")
    with pytest.raises(Enough):
        post(client, STREAM, callback.url, follow=True, progress=progress)
    assert callback.items == ["a", "b"]


@pytest.mark.django_db
def test_the_command_posts_the_results_and_prints_how_many(
    client: redis.Redis,
    callback: Callback,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = a_fleet(backlog_url=redis_url, results=STREAM)
    publish(client, "a", "b")
    monkeypatch.setenv("CALLBACK_TOKEN", "secret-1")
    command = ["fleet", "results", fleet.name, "--post", callback.url]
    call_command(*command, "--token-env", "CALLBACK_TOKEN", "--json")
    assert json.loads(capsys.readouterr().out)["items"] == 2
    assert callback.authorization == ["Bearer secret-1"]
    with pytest.raises(CommandError, match="MISSING_TOKEN is missing or empty"):
        call_command(*command, "--token-env", "MISSING_TOKEN")
    with pytest.raises(CommandError, match="belong to --post"):
        call_command("fleet", "results", fleet.name, "--out", "x.jsonl", "--follow")
