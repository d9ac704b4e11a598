"""Specs of pods at emulated vendors whose machines run real agents."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pods.agent.protocol import AgentSettings
from pods.providers.base import PodSpec
from tests.support import waiting

T = TypeVar("T")
TAG = "pf-agents"
PATIENCE_SECONDS = 60.0
# An agent whose batch takes as many seconds as its first item says.
AT_WORK: Mapping[str, Any] = {
    "fleet": "agents",
    "handler": "tests.support.agents.agent_handlers:takes_its_time",
    "batch_size": 4,
    "claim_idle_seconds": 2.0,
}


def until(what: Callable[[], T]) -> T:
    """Wait for the first true answer, with time for machines and agents to start."""
    return waiting.until(what, PATIENCE_SECONDS)


def spec(
    name: str,
    redis_url: str,
    *,
    offer: str,
    agent: Mapping[str, Any] = AT_WORK,
    env: Mapping[str, str] | None = None,
    **facts: Any,
) -> PodSpec:
    """The spec of a pod with the name `<tag>-<token>`; its agent drains the stream `tasks`."""
    settings = AgentSettings(
        **{
            "redis_url": redis_url,
            "pod": name,
            "stream": "tasks",
            "group": "workers",
            "heartbeat_seconds": 0.2,
            **agent,
        }
    )
    return PodSpec(
        name=name,
        tag=name.rpartition("-")[0],
        offer_key=offer,
        image="registry.example/agent:1",
        env={**settings.env(), **(env or {})},
        **facts,
    )


def results(backlog: Any) -> list[str]:
    """The entries that have a result."""
    return [fields[b"entry"].decode() for _, fields in backlog.xrange("tasks:results")]
