"""Any input in a form of the admin gets an answer, never a server error."""

from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fleet.alerts import delivering
from fleet.models import Channel, Fleet, Limits
from pods.base.redis import redis_client
from pods.models import Account
from tests.support.admin_pages import fields_of, page_of
from tests.support.examples import LONG
from tests.support.factories import a_fleet, an_account

pytestmark = pytest.mark.django_db
EXAMPLES = 2000 if LONG else 10
DIGITS = ("9" * 30, "-" + "9" * 30, "1e400", "NaN", "Infinity", "-0", "0.0000001", "1" + "0" * 5000)
WORDS = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\ud7ff\u202e",
        "'; DROP TABLE pods_pod; --",
        "<script>alert(1)</script>",
    ),
    *("x" * 5000, "../../etc/passwd", "{}", "[]", "null", '{"a": 1e999}', "[" * 2000, "٣", "१२"),
    *("7", "true", '"text"', "[1]", '{"min_vram_gb": "much"}', '{"gpu_types": "A"}'),
    *(
        "http://169.254.169.254/",
        "json://[::1",
        "mailto://",
        "slack://",
        "env:",
        "file:/dev/zero\0",
    ),
    *("on", "2026-02-30", "99:99", "9999-12-31 23:59:59", "a:b:c", "os:system", "{{7*7}}"),
)
typed = st.one_of(st.sampled_from(DIGITS + WORDS), st.text(max_size=40), st.integers().map(str))
quick = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
edits = st.dictionaries(st.integers(0, 200), typed, min_size=1, max_size=4)


class Undone(Exception):
    """Rolls back what an example wrote, so that the next one starts without it."""


@pytest.fixture
def client() -> Client:
    made = Client()
    made.force_login(User.objects.create_superuser("root", password="x"))
    return made


def test_an_unchanged_form_is_accepted(client: Client) -> None:
    """Else the form would refuse any input for another reason."""
    for instance in (
        *(a_fleet(), an_account(), Limits.get()),
        delivering.add_channel("ops", "json://93.184.216.34/hook"),
    ):
        answer = client.post(page_of(instance), fields_of(instance))
        assert answer.status_code == 302, answer.context["adminform"].form.errors


def post(client: Client, instance: Any, edited: Mapping[int, str]) -> None:
    fields = fields_of(instance)
    names = sorted(fields)
    for number, value in edited.items():
        fields[names[number % len(names)]] = value
    try:
        with transaction.atomic():
            answer = client.post(page_of(instance), fields)
            assert answer.status_code in {200, 302}, answer.status_code
            raise Undone
    except Undone:
        pass


def each_field(number: int) -> Any:
    """Examples with every odd word once in each field."""
    return [{n: word} for n in range(number) for word in (*DIGITS, *WORDS)]


@quick
@given(edited=edits)
@example(edited={})
def test_a_fleets_form_accepts_or_refuses_any_input(client: Client, edited: dict[int, str]) -> None:
    fleet = Fleet.objects.first() or a_fleet()
    post(client, fleet, edited)


@quick
@given(edited=edits)
@example(edited={})
def test_an_accounts_form_accepts_or_refuses_any_input(
    client: Client, edited: dict[int, str]
) -> None:
    account = Account.objects.first() or an_account()
    post(client, account, edited)


@quick
@given(edited=edits)
@example(edited={})
def test_a_channels_form_accepts_or_refuses_any_input(
    client: Client, edited: dict[int, str]
) -> None:
    channel = Channel.objects.first() or delivering.add_channel("ops", "json://93.184.216.34/hook")
    post(client, channel, edited)


@quick
@given(edited=edits)
@example(edited={})
def test_the_form_of_the_limits_accepts_or_refuses_any_input(
    client: Client, edited: dict[int, str]
) -> None:
    post(client, Limits.get(), edited)


@pytest.mark.parametrize("text", ["1" + "0" * 5000, "[" * 100_000, '{"a": 1e999}', "7", "{"])
def test_the_form_shows_bad_json_at_its_field(client: Client, text: str) -> None:
    # The adapter of a third party may not describe its options: then they are JSON.
    for instance, field in ((a_fleet(), "handler_env"), (an_account("acme"), "options")):
        answer = client.post(page_of(instance), {**fields_of(instance), field: text})
        assert answer.status_code == 200
        assert list(answer.context["adminform"].form.errors) == [field]


@pytest.mark.parametrize(
    ("kind", "url", "said"),
    [
        ("redis_stream", "somewhere", "redis://"),
        ("redis_stream", "redis://[::1", "IPv6"),
        ("celery_redis", "redis://h/0?priority_steps=x", "priority_steps"),
        ("celery_rabbitmq", "", "amqp://user:password@host/vhost"),
        ("celery_rabbitmq", "amqp://h/?management_port=0", "management_port"),
    ],
)
def test_the_form_shows_a_bad_backlog_address_at_its_field(
    client: Client, kind: str, url: str, said: str
) -> None:
    fleet = a_fleet()
    sent = {**fields_of(fleet), "backlog": kind, "backlog_url": url}
    answer = client.post(page_of(fleet), sent)
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert list(errors) == ["backlog_url"]
    assert said in errors["backlog_url"][0]


def test_a_stream_name_that_is_another_key_is_shown_after_the_save(
    client: Client, redis_url: str
) -> None:
    redis_client(redis_url).set("taken", 1)
    fleet = a_fleet()
    sent = {**fields_of(fleet), "backlog_url": redis_url, "stream": "taken"}
    answer = client.post(page_of(fleet), sent, follow=True)
    assert "the consumer group is not made: taken: WRONGTYPE" in answer.content.decode()


def test_an_impossible_host_name_is_shown_after_the_save(client: Client) -> None:
    fleet = a_fleet()
    sent = {**fields_of(fleet), "backlog_url": f"redis://{'x' * 100}/0"}
    answer = client.post(page_of(fleet), sent, follow=True)
    assert "the consumer group is not made: not the name of a host" in answer.content.decode()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_odd_word_in_every_field_of_a_fleet(client: Client) -> None:
    fleet = a_fleet()
    for edited in each_field(len(fields_of(fleet))):
        post(client, fleet, edited)
