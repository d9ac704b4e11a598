"""Redis clients without retries, and the commands that a client sends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def client_of(url: str) -> redis.Redis:
    """A client as `pods.base.redis` makes it, but without retries."""
    return redis.Redis.from_url(
        url, protocol=2, socket_timeout=2.0, socket_connect_timeout=2.0, retry=Retry(NoBackoff(), 0)
    )


@contextmanager
def counting(client: redis.Redis) -> Iterator[list[str]]:
    """Record the commands that a client sends within the block, each a round trip."""
    sent: list[str] = []
    original: Callable[..., object] = client.execute_command

    def execute_command(*args: object, **options: object) -> object:
        sent.append(str(args[0]))
        return original(*args, **options)

    client.execute_command = execute_command  # type: ignore[method-assign]
    yield sent
    client.execute_command = original  # type: ignore[method-assign]


def may_only_read(client: redis.Redis, redis_url: str) -> str:
    """The address by which a user comes in who may look, and change nothing."""
    client.acl_setuser(
        "reader",
        enabled=True,
        passwords=["+pass"],
        keys=["*"],
        categories=["+@read", "+@connection"],
        commands=["+eval_ro", "+time"],
    )
    address = redis_url.partition("@")[2] or redis_url.partition("//")[2]
    return f"redis://reader:pass@{address}"


def client_arguments(address: str) -> dict[str, Any]:
    """What redis-py reads in an address."""
    pool = redis.ConnectionPool.from_url(address)
    return dict(pool.connection_kwargs)
