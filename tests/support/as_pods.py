"""What a pod may do in Redis with its own user."""

from typing import Any

import redis

from pods.agent_redis import redis_users
from pods.models import Pod


def as_pod(pod: Pod) -> "redis.Redis":
    """A client that is signed in as the pod."""
    return redis.Redis.from_url(redis_users.pod_address(pod), protocol=2)


def refused(client: Any, *words: str) -> bool:
    """Whether the client lacks the right to this command."""
    try:
        client.execute_command(*words)
    except redis.exceptions.NoPermissionError:
        return True
    return False
