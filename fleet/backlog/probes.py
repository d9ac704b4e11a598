"""Builds the probe of a backlog from plain values."""

from dataclasses import fields, replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from fleet.backlog.base import Probe
from fleet.backlog.celery_queue import CeleryKeys, CeleryRedisProbe
from fleet.backlog.celery_rabbitmq import CeleryRabbitProbe
from fleet.backlog.dataset import DatasetProbe
from fleet.backlog.redis_streams import RedisStreamProbe
from pods.base import redis_address
from pods.base.redis import redis_client

# RabbitMQ's defaults, by the scheme of the broker's address.
MANAGEMENT: Final = {"amqp": ("http", 15672), "amqps": ("https", 15671)}


def build_probe(
    kind: str, *, url: str, name: str, group: str, rows: str = "", fed: bool = False
) -> Probe:
    """Return the probe that measures a backlog; `name` is the stream or the Celery queue.

    `dataset`: `rows` is the hash with the counts of rows, and `fed` says whether ranges were planned
    that may not be finished.

    `celery_redis`: where an app's transport does not use kombu's default names, the address gives
    them: `?global_keyprefix=app:&exchange=tasks&priority_steps=0,5&sep=:`.
    `celery_rabbitmq`: the address is the broker's (`amqp://user:password@host/vhost`, with
    `?management_port=15672`) or the management plug-in's (`https://user:password@host:15671?vhost=/`).

    Raises:
        ValueError: the kind is unknown, or the address is not valid.
    """
    if kind == "redis_stream":
        return RedisStreamProbe(redis_client(redis_address.checked(url)), name, group)
    if kind == "dataset":
        client = redis_client(redis_address.checked(url))
        return DatasetProbe(client, name, group, rows=rows, fed=fed)
    if kind == "celery_redis":
        return _celery_redis(url, name)
    if kind == "celery_rabbitmq":
        return _celery_rabbitmq(url, name)
    raise ValueError(
        f"{kind!r} is not a kind of backlog; use redis_stream, dataset, celery_redis or "
        "celery_rabbitmq"
    )


def _celery_redis(url: str, queue: str) -> Probe:
    known = {field.name for field in fields(CeleryKeys)} - {"queue"}
    redis_address.check_one(url)
    bare, options = _without_options(url, known)
    checked = redis_address.checked(bare, also=known)
    keys = CeleryKeys(queue=queue)
    for option, text in options.items():
        value: Any = _steps(text) if option == "priority_steps" else text
        keys = replace(keys, **{option: value})
    return CeleryRedisProbe(redis_client(checked), keys)


def _celery_rabbitmq(url: str, queue: str) -> Probe:
    redis_address.check_one(url)
    bare, options = _without_options(url, {"management_port", "vhost"})
    parts = urlsplit(bare)
    if not parts.hostname or parts.scheme not in {"http", "https", *MANAGEMENT}:
        raise ValueError(
            f"{parts.scheme}://{parts.hostname or ''} is not the address of a RabbitMQ server; use "
            "amqp://user:password@host/vhost or https://user:password@host:15671?vhost=/"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.scheme in MANAGEMENT:
        scheme, port = MANAGEMENT[parts.scheme]
        base = f"{scheme}://{host}:{_port(options.get('management_port'), port)}"
        vhost = unquote(parts.path.removeprefix("/")) or "/"
    else:
        base = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
        base += parts.path.rstrip("/")
        vhost = options.get("vhost", "/")
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    return CeleryRabbitProbe(base, user=user, password=password, vhost=vhost, queue=queue)


def _without_options(url: str, known: set[str]) -> tuple[str, dict[str, str]]:
    """Take the known options out of an address; the other options stay in it."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    rest = urlencode([(name, value) for name, value in pairs if name not in known])
    return urlunsplit(parts._replace(query=rest)), {n: v for n, v in pairs if n in known}


def _steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(step) for step in text.split(","))
    except ValueError as exc:
        raise ValueError(f"priority_steps is {text!r}; give numbers, such as 0,3,6,9") from exc


def _port(text: str | None, usual: int) -> int:
    if text is None:
        return usual
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"management_port is {text!r}; give a port, such as 15672")
    return int(text)
