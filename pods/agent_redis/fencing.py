"""Sends commands to agents, and fences pods that were written off."""

from typing import Final

import redis
from redis import RedisError, ResponseError

from pods.accounts import connecting
from pods.agent.protocol import Command
from pods.agent_redis import consumers, redis_users
from pods.base.redis import redis_client
from pods.models import Pod

# A written-off pod that comes back later finds no consumer and no keys.
FENCE_SECONDS: Final = 30 * 24 * 3600
COMMAND_SECONDS: Final = 24 * 3600


class Unfenced(Exception):
    """Redis did not store the fence or the command; try again."""


def _client(pod: Pod) -> redis.Redis:
    return redis_client(connecting.redis_url(pod))


def send_command(pod: Pod, command: Command) -> None:
    """Tell the pod's agent to drain or to stop; it reads the command with its next heartbeat.

    Raises:
        Unfenced: Redis does not answer.
    """
    try:
        _client(pod).set(connecting.keys(pod).command(pod.name), command.value, ex=COMMAND_SECONDS)
    except RedisError as exc:
        raise Unfenced(f"the command {command.value} did not reach Redis: {exc}") from exc


def recall(pod: Pod) -> None:
    """Delete the pod's command, because the agent of a resumed pod would drain at once.

    Raises:
        Unfenced: Redis does not answer.
    """
    try:
        _client(pod).delete(connecting.keys(pod).command(pod.name))
    except RedisError as exc:
        raise Unfenced(f"the command could not be taken back: {exc}") from exc


def fence(pod: Pod) -> None:
    """Fence the pod: its scripts refuse to acknowledge and publish, and its Redis user is deleted.

    Raises:
        Unfenced: Redis does not answer.
    """
    try:
        _client(pod).set(connecting.keys(pod).fence(pod.name), "1", ex=FENCE_SECONDS)
        redis_users.delete(pod)
    except RedisError as exc:
        raise Unfenced(f"the fence did not reach Redis: {exc}") from exc


def forget(pod: Pod) -> None:
    """Remove a gone pod's user, heartbeat, command and empty consumer from Redis.

    A consumer with pending items stays until others have claimed them; `consumers.sweep` then removes
    it. If Redis is down nothing happens: the rest is small, and expires or is swept.
    """
    keys = connecting.keys(pod)
    stream, group = pod.agent["stream"], pod.agent["group"]
    client = _client(pod)
    try:
        redis_users.delete(pod)
        client.delete(keys.pod(pod.name), keys.command(pod.name))
        consumers.remove(client, stream, group, [pod.name])
    except (RedisError, ResponseError):
        return
