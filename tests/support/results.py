"""Puts results on a stream, as agents do."""

import redis

STREAM = "emb:results"


def publish(
    client: redis.Redis, *items: str, result: bytes | str = "[1, 2.5]", pod: str = "p"
) -> None:
    """Publish a result for each item, in this order."""
    with client.pipeline(transaction=False) as pipe:
        for item in items:
            pipe.xadd(STREAM, {"id": item, "entry": f"{item}-0", "pod": pod, "result": result})
        pipe.execute()
