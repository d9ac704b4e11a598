"""Two fleets never drain the same backlog: its items would go through the wrong handler."""

import re

import pytest
import redis
from django.core.exceptions import ValidationError
from django.core.management import CommandError

from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Fleet
from tests.support.factories import a_fleet
from tests.support.fleet_command import run

pytestmark = pytest.mark.django_db
REDIS = "redis://h:6379/0"


def fleets_on(one: dict[str, str], other: dict[str, str]) -> None:
    """Create a fleet on one backlog, and check another fleet on the other one."""
    a_fleet(name="one", **one)
    operating.check(Fleet(name="two", handler="a:b", **other), [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({}, {"group": "other"}),
        ({}, {"group": "other", "results": "other"}),
        ({"backlog_url": REDIS}, {"backlog_url": "redis://user:secret@h"}),
        ({"backlog_url": REDIS}, {"backlog_url": "rediss://H/0"}),
        ({"backlog_url": "redis://localhost/1"}, {"backlog_url": "redis://127.0.0.1:6379/1"}),
        (
            {"backlog": "celery_redis", "backlog_url": REDIS, "group": "a"},
            {"backlog": "celery_redis", "backlog_url": REDIS, "group": "b"},
        ),
        (
            {"backlog": "celery_rabbitmq", "backlog_url": "amqp://h/v"},
            {"backlog": "celery_rabbitmq", "backlog_url": "amqp://u:p@h:5672/v"},
        ),
    ],
)
def test_a_second_fleet_on_the_same_backlog_is_refused_with_the_name_of_the_first(
    one: dict[str, str], other: dict[str, str]
) -> None:
    with pytest.raises(ValidationError, match=r"the fleet one drains .* of its own") as refused:
        fleets_on(one, other)
    assert list(refused.value.error_dict) == ["stream"]
    assert "--stream two" in str(refused.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"stream": "other"}),
        ({}, {"stream": "other", "group": "other"}),
        ({"backlog_url": REDIS}, {}),
        ({"backlog_url": REDIS}, {"backlog_url": "redis://h:6379/1"}),
        ({"backlog_url": REDIS}, {"backlog_url": "redis://h:6380/0"}),
        ({"backlog_url": REDIS}, {"backlog": "celery_redis", "backlog_url": REDIS}),
        (
            {"backlog": "celery_rabbitmq", "backlog_url": "amqp://h/v"},
            {"backlog": "celery_rabbitmq", "backlog_url": "amqp://h/w"},
        ),
    ],
)
def test_fleets_on_different_backlogs_are_accepted(
    one: dict[str, str], other: dict[str, str]
) -> None:
    fleets_on(one, other)


def test_fleets_that_share_since_before_can_be_edited_but_not_joined(client: redis.Redis) -> None:
    one, two, three = (a_fleet(name=n) for n in ("one", "two", "three"))
    Fleet.objects.filter(pk=three.pk).update(stream="other")
    operating.edit(two, {"max_instances": 3}, by="test")
    operating.set_mode(one, Mode.RUNNING, by="test")
    three.refresh_from_db()
    with pytest.raises(ValidationError, match="the fleet one drains the stream"):
        operating.edit(three, {"stream": "embedding_tasks"}, by="test")
    three.refresh_from_db()
    assert three.stream == "other"


def test_the_command_refuses_and_names_the_other_fleet(client: redis.Redis) -> None:
    run("create", "one", "--handler", "a:b")
    with pytest.raises(CommandError, match="stream: the fleet one drains the stream embedding_t"):
        run("create", "two", "--handler", "a:b")
    run("create", "two", "--handler", "a:b", "--stream", "two")


def test_the_options_that_the_refusal_names_make_the_second_fleet() -> None:
    run("create", "one", "--handler", "a:b")
    with pytest.raises(CommandError) as refused:
        run("create", "two", "--handler", "a:b")
    [options] = re.findall(r"\(on the command line: (.*?)\)", str(refused.value))
    run("create", "two", "--handler", "a:b", *options.split())
    two = Fleet.objects.get(name="two")
    assert (two.stream, two.group) == ("two", "two")
    run("set", "two", "--stream", "three", "--group", "three")
    with pytest.raises(CommandError, match="--stream three_items --group three_items"):
        run("create", "three", "--handler", "a:b", "--stream", "three")
