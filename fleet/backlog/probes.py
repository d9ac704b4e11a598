"""The probe of a backlog, by its kind."""

from fleet.backlog.base import Probe
from fleet.backlog.redis_streams import RedisStreamProbe
from pods.connections import redis_client


def build_probe(kind: str, *, url: str, name: str, group: str) -> Probe:
    """The probe that measures a backlog; `name` is the stream or the Celery queue.

    Raises:
        ValueError: there is no such kind.
    """
    if kind == "redis_stream":
        return RedisStreamProbe(redis_client(url), name, group)
    raise ValueError(f"{kind!r} is no kind of backlog; use redis_stream")
