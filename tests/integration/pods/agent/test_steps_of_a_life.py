"""An agent from its beginning to its end, without its handler's process."""

import logging
import threading
from types import SimpleNamespace

import pytest

from pods.agent import farewell
from pods.agent.control import Control, Intent
from pods.agent.handler_process import HandlerBroken
from pods.agent.protocol import AgentState
from pods.agent.threads import EXIT_FAULT, Threads
from tests.support.rigs.agent_steps import Agent

MUCH = 10_000_000
PATIENCE_SECONDS = 20.0


def lives(agent):
    """Let it live in a thread; what it answers at the end."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(agent.run()), daemon=True)
    thread.start()
    return thread, answers


@pytest.fixture
def living(agent, backlog, monkeypatch):
    """An agent that waits for real."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    return Agent(backlog, Control(), heartbeat_seconds=0.01)


def test_an_agent_works_until_it_is_told_to_drain(living, backlog, until):
    thread, answers = lives(living)
    until(lambda: getattr(backlog.heartbeat("pod-a"), "state", "") is AgentState.WORKING)
    backlog.client.set(backlog.keys.command("pod-a"), "drain")
    thread.join(PATIENCE_SECONDS)
    assert answers == [0]
    assert backlog.heartbeat("pod-a").state is AgentState.DRAINED


def test_an_agent_that_was_stopped_while_it_loaded_does_not_say_that_it_works(living, monkeypatch):
    states = []
    monkeypatch.setattr(living, "_start_work", lambda: states.append(living._beating.state) or [])
    monkeypatch.setattr(
        living.taker, "load", lambda: int(living._control.ask(Intent.STOP, "asked"))
    )
    assert living.run() == 0
    assert states == [AgentState.STARTING]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_handler_that_cannot_be_loaded_fails_the_agent_unless_it_was_stopped(
    living, backlog, monkeypatch, stopped
):
    def load():
        if stopped:
            living._control.ask(Intent.STOP, "asked")
        raise HandlerBroken("no module named x")

    monkeypatch.setattr(living.taker, "load", load)
    assert living.run() == (0 if stopped else farewell.EXIT_HANDLER_BROKEN)
    said = backlog.heartbeat("pod-a")
    assert said.state is (AgentState.DRAINED if stopped else AgentState.FAILED)
    assert said.note == ("" if stopped else "handler: no module named x")


@pytest.mark.parametrize(
    ("state", "closed"), [(AgentState.STARTING, [False]), (AgentState.WORKING, [])]
)
def test_an_early_end_ends_the_load_of_the_handler_alone(agent, state, closed):
    agent._beating.state = state
    agent._stop_loading()
    assert agent.taker.closed == closed


def test_the_round_trip_time_is_unknown_until_it_was_measured(agent):
    assert agent._measured()["rtt_ms"] is None
    agent._holding.round_trip(0.08)
    assert agent._measured()["rtt_ms"] == 80


def test_the_intake_goes_on_until_nothing_more_may_be_taken(agent, monkeypatch):
    steps = []

    def step():
        steps.append(1)
        if len(steps) == 2:
            agent._control.ask(Intent.DRAIN, "asked")

    monkeypatch.setattr(agent, "_take_step", step)
    agent._take_in()
    agent._take_in()
    assert len(steps) == 2


def test_what_is_in_hand_is_kept_until_a_stop_four_times_in_its_idle_time(agent):
    [entry] = agent.backlog.put(b"x")
    agent._read(1, MUCH)
    agent.backlog.make_old("pod-a", [entry])
    agent._control.ask(Intent.DRAIN, "asked")

    def happens():
        if len(agent._control.pauses) == 2:
            [pending] = agent._stream.pending(9)
            assert pending.idle_seconds < 3600
            agent._control.ask(Intent.STOP, "asked")

    agent._control.happens = happens
    agent._keep()
    assert agent._control.pauses == [15.0, 15.0]


def test_what_an_agent_has_is_left_to_time_out_where_the_server_is_not_reached_in_time(
    agent, backlog, monkeypatch
):
    backlog.put(b"x")
    agent._read(1, MUCH)
    monkeypatch.setattr(farewell, "GOODBYE_SECONDS", -1)
    farewell.say_goodbye(agent._stream, agent._holding, agent._patience)
    assert backlog.pending_of("pod-a") == 1


@pytest.mark.parametrize("thread", [None, SimpleNamespace(name="reader")])
@pytest.mark.parametrize("value", [None, ValueError("a fault")])
def test_a_thread_that_dies_ends_the_agent_and_is_named(thread, value, caplog):
    control = Control()
    died = SimpleNamespace(thread=thread, exc_type=ValueError, exc_value=value, exc_traceback=None)
    with caplog.at_level(logging.CRITICAL, "podfleet.agent"):
        Threads(control)._died(died)
    assert (control.intent, control.exit_code) == (Intent.STOP, EXIT_FAULT)
    [record] = caplog.records
    assert record.args == ("reader" if thread else None,)
    assert str(record.exc_info[1]) == ("a fault" if value else "")
