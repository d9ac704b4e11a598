"""Which probe is built from which plain values, and which error says that none can be."""

import pytest

from fleet.backlog.celery_queue import CeleryKeys
from fleet.backlog.probes import build_probe


@pytest.mark.parametrize(
    ("kind", "url", "message"),
    [
        ("kafka", "redis://h", "'kafka' is not a kind of backlog; use redis_stream"),
        ("redis_stream", "http://h", "an address of Redis begins with redis://"),
        ("celery_redis", "redis://h/0;redis://i/0", "this is a list of addresses"),
        ("celery_rabbitmq", "amqp://h/v;amqp://i/v", "this is a list of addresses"),
        ("celery_redis", "redis://h?global_key_prefix=x", "Known are: .*global_keyprefix"),
        ("celery_redis", "redis://h?priority_steps=low", "priority_steps is 'low'; give numbers"),
        (
            "celery_rabbitmq",
            "redis://h",
            "redis://h is not the address of a RabbitMQ server; use amqp://",
        ),
        ("celery_rabbitmq", "amqp:///vhost", "is not the address of a RabbitMQ server"),
        ("celery_rabbitmq", "amqp://h?management_port=web", "management_port is 'web'; give a"),
        ("celery_rabbitmq", "amqp://h?management_port=99999", "management_port is '99999'"),
    ],
)
def test_an_invalid_backlog_is_refused_and_the_message_says_what_would_be_right(
    kind: str, url: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        build_probe(kind, url=url, name="work", group="workers")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("amqp://u:p@h/v", "http://h:15672"),
        ("amqps://u:p@h:5671/v", "https://h:15671"),
        ("amqp://u:p@[::1]/v", "http://[::1]:15672"),
        ("https://u:p@h/rabbit/?vhost=v", "https://h/rabbit"),
        ("http://u:p@h:8080", "http://h:8080"),
    ],
)
def test_the_management_api_is_found_from_the_brokers_address(url: str, base: str) -> None:
    probe = build_probe("celery_rabbitmq", url=url, name="work", group="")
    assert repr(probe) == f"CeleryRabbitProbe({base!r}, vhost={'/' if '8080' in url else 'v'!r})"


def test_the_lists_of_all_usual_priorities_of_kombu_are_counted() -> None:
    steps = {0, 3, 6, 9}
    names = {"app:work" + (f"\x06\x16{step}" if step else "") for step in steps}
    assert names <= set(CeleryKeys(queue="work", global_keyprefix="app:").waiting)
