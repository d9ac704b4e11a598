"""`python -m pods.agent`: which agent runs, how long its notice is, and when its machine ends."""

import logging
import os
import signal
from types import SimpleNamespace

import pytest

from pods.agent import __main__ as program
from pods.agent.heartbeat import EXIT_ORPHANED
from pods.agent.protocol import AgentSettings

SETTINGS = AgentSettings(
    redis_url="redis://h", fleet="f", pod="p", stream="s", group="g", handler="m:f"
)


class Ended(Exception):
    """The process has ended with this code."""


@pytest.mark.parametrize(("code", "ends"), [(0, False), (1, False), (4, False), (5, True)])
def test_only_an_agent_without_a_manager_ends_its_machine(monkeypatch, code, ends):
    ended = []

    def leave(status):
        raise Ended(status)

    monkeypatch.setattr(program, "hide_in_output", lambda: None)
    monkeypatch.setattr(program, "main", lambda: code)
    monkeypatch.setattr(program, "end_machine", ended.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(Ended, match=str(code)):
        program.run()
    assert EXIT_ORPHANED == 5
    assert ended == ([os.environ] if ends else [])


@pytest.mark.parametrize("handler", ["", "m", "m:", ":f"])
def test_a_handler_without_both_parts_is_refused_with_what_would_be_right(handler):
    env = {**SETTINGS.env(), "PODFLEET_HANDLER": handler}
    with pytest.raises(ValueError, match=r"is not package\.module:function"):
        program.settings_of(env)


def agent_of(name, made):
    return lambda settings, control: SimpleNamespace(run=lambda: made.append(name) or 0)


@pytest.mark.parametrize(
    ("variables", "agent", "notice"),
    [
        ({}, "items", 4.0),
        ({"PODFLEET_KIND": "dataset"}, "dataset", 2.0),  # it still has a part to write
        ({"PODFLEET_CELERY_APP": "m:app"}, "celery", 4.0),
    ],
)
def test_the_kind_of_work_says_which_agent_runs_and_for_how_long_it_finishes_work(
    monkeypatch, variables, agent, notice
):
    made, handlers, notices = [], {}, []
    for name, value in {**SETTINGS.env(), **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(program, "Agent", agent_of("items", made))
    monkeypatch.setattr(program, "CeleryAgent", agent_of("celery", made))
    dataset = SimpleNamespace(DatasetAgent=agent_of("dataset", made))
    monkeypatch.setattr(program, "import_module", lambda name: dataset)
    monkeypatch.setattr(program, "take_notice", lambda control, seconds: notices.append(seconds))
    assert program.main() == 0
    handlers[signal.SIGTERM]()
    assert (made, notices) == ([agent], [notice])
