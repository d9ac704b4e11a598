"""One heartbeat at a time: what the agent learns from the answer, and when it ends by itself."""

import logging

import pytest
import redis

from pods.agent.control import Control, Intent
from pods.agent.heartbeat import EXIT_FENCED, EXIT_ORPHANED, Beating
from pods.agent.holding import Holding
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings, AgentState


class Agent:
    """The heart of an agent, which beats when it is told."""

    def __init__(self, backlog, *, user=False, **changes):
        where = redis.Redis.from_url(backlog.url).connection_pool.connection_kwargs
        own = f"redis://pod-a:pw@{where['host']}:{where['port']}/{where.get('db', 0)}"
        url = own if user else backlog.url
        self.backlog, self.control, self.progress = backlog, Control(), Progress()
        settings = AgentSettings(
            redis_url=url, fleet="test", pod="pod-a", stream="tasks", group="workers",
            handler="m:f", **changes,
        )  # fmt: skip
        self.beating = Beating(settings, self.progress, Holding(1), self.control)

    def beat(self):
        self.beating._beat()
        return self.control.intent

    def keys(self):
        keys = self.backlog.keys
        return [f"~{key}" for key in (keys.pod("pod-a") + "*", keys.lease)]

    def may(self, *keys):
        self.backlog.client.execute_command(
            "ACL", "SETUSER", "pod-a", "reset", "on", ">pw", "+@all", *keys
        )


@pytest.fixture
def agent(backlog):
    return Agent(backlog)


@pytest.mark.parametrize(
    ("command", "intent"),
    [(None, Intent.WORK), ("drain", Intent.DRAIN), ("stop", Intent.STOP), ("dance", Intent.WORK)],
)
def test_the_answer_to_a_heartbeat_brings_the_managers_command(agent, command, intent):
    if command:
        agent.backlog.client.set(agent.backlog.keys.command("pod-a"), command)
    assert agent.beat() is intent
    assert agent.control.exit_code == 0
    assert agent.backlog.heartbeat("pod-a").state is AgentState.STARTING


def test_a_pod_that_is_written_off_ends_whatever_its_command_is(agent):
    agent.backlog.client.set(agent.backlog.keys.command("pod-a"), "drain")
    agent.backlog.client.set(agent.backlog.keys.fence("pod-a"), "1")
    assert agent.beat() is Intent.FENCED
    assert agent.control.exit_code == EXIT_FENCED


def test_a_server_that_does_not_know_the_pod_ends_it_only_when_it_is_about_to_end(backlog):
    agent = Agent(backlog, user=True)
    assert agent.beat() is Intent.WORK  # a restarted server knows its users after the next sweep
    assert "heartbeat: AuthenticationError" in agent.progress.note
    agent.control.ask(Intent.DRAIN, "the manager asked")
    assert agent.beat() is Intent.FENCED
    assert agent.control.exit_code == EXIT_FENCED


def test_another_error_of_the_server_ends_no_agent(backlog):
    agent = Agent(backlog, user=True)
    agent.may("~nothing")
    agent.control.ask(Intent.DRAIN, "the manager asked")
    assert agent.beat() is Intent.DRAIN
    assert "heartbeat: NoPermissionError" in agent.progress.note
    agent.may("allkeys")
    assert agent.beat() is Intent.DRAIN
    assert agent.progress.note == ""


def test_other_secrets_are_read_with_the_next_heartbeat(agent):
    assert agent.beat() is Intent.WORK
    assert agent.beating.secrets.now().version == ""
    key = agent.backlog.keys.secrets
    for version in ("1", "2"):
        agent.backlog.client.hset(key, mapping={"version": version, "env:A": f"value-{version}"})
        agent.beat()
        assert agent.beating.secrets.now().values == {"A": f"value-{version}"}


def test_a_pod_that_may_read_no_secrets_sends_heartbeats_and_asks_again_later(backlog):
    agent = Agent(backlog, user=True)
    agent.may(*agent.keys())
    agent.beat()
    assert backlog.heartbeat("pod-a")
    assert not agent.beating.secrets.readable
    since = agent.beating.secrets._refused_at
    agent.beat()
    assert agent.progress.note == ""
    assert agent.beating.secrets._refused_at == since  # it was not refused again meanwhile
    backlog.client.hset(backlog.keys.secrets, mapping={"version": "1", "env:A": "value"})
    agent.may("allkeys")
    agent.beating.secrets._refused_at -= 61
    agent.beat()
    assert agent.beating.secrets.now().values == {"A": "value"}


def test_an_agent_without_a_manager_ends_once_and_says_why(backlog, caplog):
    agent = Agent(backlog, heartbeat_seconds=0.01, orphan_seconds=0.05)
    with caplog.at_level(logging.ERROR, "podfleet.agent"):
        agent.beating.start()
        assert agent.control.wait_beyond(Intent.WORK, 20)
        agent.control.wait_beyond(Intent.DRAIN, 0.05)
        agent.beating.close(AgentState.DRAINED)
    assert (agent.control.intent, agent.control.exit_code) == (Intent.DRAIN, EXIT_ORPHANED)
    assert caplog.messages == ["orphaned because='no manager for 0.05 s'"]
    assert not agent.beating._thread.is_alive()
    assert backlog.heartbeat("pod-a").state is AgentState.DRAINED


def test_an_agent_with_a_manager_goes_on_until_it_is_closed(backlog, until):
    agent = Agent(backlog, heartbeat_seconds=0.01)
    agent.beating.start()
    first = until(lambda: backlog.heartbeat("pod-a"))
    until(lambda: backlog.heartbeat("pod-a").uptime_ms > first.uptime_ms)
    assert agent.control.working
    agent.beating.close(AgentState.FAILED)
    assert not agent.beating._thread.is_alive()
    assert backlog.heartbeat("pod-a").state is AgentState.FAILED


def test_secrets_that_have_not_changed_are_not_read_again(agent):
    client = agent.backlog.client
    client.hset(agent.backlog.keys.secrets, mapping={"version": "1", "env:A": "value"})
    agent.beat()
    client.config_resetstat()
    agent.beat()
    client.delete(agent.backlog.keys.secrets)  # a server that lost its data
    agent.beat()
    assert "cmdstat_hgetall" not in client.info("commandstats")
    assert agent.beating.secrets.now().values == {"A": "value"}


def test_a_refusal_of_the_secrets_is_logged_once_and_asked_again_only_after_one(agent, caplog):
    secrets = agent.beating.secrets
    secrets.ask_again()
    with caplog.at_level(logging.INFO, "podfleet.agent"):
        for _ in range(2):
            secrets.refused()
    assert len(caplog.messages) == 1
