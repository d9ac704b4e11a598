"""An agent of a Celery workload, one step at a time, with a worker that a test plays."""

import signal
import subprocess
import time
from types import SimpleNamespace

import pytest

from pods.agent import celery_agent
from pods.agent.celery_agent import EXIT_BROKEN, CeleryAgent
from pods.agent.control import Control, Intent
from pods.agent.heartbeat import EXIT_FENCED
from pods.agent.protocol import AgentSettings, AgentState
from pods.agent.secrets import Held


class Stepped(Control):
    """It waits in no time; `happens` happens at each wait."""

    def __init__(self):
        super().__init__()
        self.pauses, self.happens = [], lambda: None

    def wait_beyond(self, intent, seconds):
        self.pauses.append(seconds)
        self.happens()
        return self.intent > intent


class Worker:
    """What `Popen` is to the agent, and the signals that it got."""

    pid = 0

    def __init__(self, *, ends_by=(signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL)):
        self.status, self.ends_by, self.got = None, ends_by, []

    def poll(self):
        return self.status

    def send_signal(self, number):
        self.got.append(number)
        if number in self.ends_by:
            self.status = 0

    def wait(self, timeout=None):
        if self.status is None:
            raise subprocess.TimeoutExpired("worker", timeout)
        return self.status


class Agent(CeleryAgent):
    def __init__(self, backlog, **changes):
        settings = AgentSettings(
            redis_url=backlog.url, fleet="test", pod="pod-a", stream="tasks", group="workers",
            handler="m:f", celery_app="m:app", **changes,
        )  # fmt: skip
        super().__init__(settings, Stepped())
        self.works, self.backlog = [], backlog

    def plays(self, *works):
        """Each worker does this, and the agent is told to drain after the last one."""
        self.works = list(works)
        self._measures = SimpleNamespace(start=lambda: None, now=dict)
        self._beating._measures = dict

    def _work(self):
        if not self.works:
            self._control.ask(Intent.DRAIN, "asked")
            return None
        return self.works.pop(0)()


@pytest.fixture
def agent(backlog):
    return Agent(backlog)


def ends(agent, *, ready=False, broken=""):
    """A worker that ends by itself."""

    def work():
        agent._hand.ready, agent._hand.broken = ready, broken
        return 7

    return work


def test_a_worker_that_ends_by_itself_is_started_again(agent):
    agent.plays(ends(agent), ends(agent), ends(agent, ready=True), ends(agent), ends(agent))
    assert agent.run() == 0
    assert agent.works == []
    assert agent._progress.note == "handler: the Celery worker ended by itself with status 7"
    assert agent._control.pauses.count(celery_agent.RESTART_SECONDS) == 5
    assert agent.backlog.heartbeat("pod-a").state is AgentState.DRAINED


@pytest.mark.parametrize("broken", ["", "ImportError: x"])
def test_a_worker_that_does_not_get_ready_is_broken(agent, broken):
    agent.plays(*[ends(agent, broken=broken)] * 5)
    assert agent.run() == EXIT_BROKEN
    assert len(agent.works) == (4 if broken else 2)
    said = agent.backlog.heartbeat("pod-a")
    assert said.state is AgentState.FAILED
    assert said.note == f"handler: {broken or 'the Celery worker ended by itself with status 7'}"


def test_a_worker_that_ends_for_other_secrets_or_at_the_end_is_not_broken(agent):
    def outdated():
        agent._given = "other"
        return 0

    def drained():
        agent._given = agent._beating.secrets.now().version
        agent._control.ask(Intent.DRAIN, "asked")
        return 7

    agent.plays(outdated, drained)
    assert agent.run() == 0
    assert agent._progress.note == ""
    assert celery_agent.RESTART_SECONDS not in agent._control.pauses


def test_an_agent_that_was_stopped_at_its_beginning_starts_no_worker(agent):
    agent.plays(ends(agent))
    agent._control.ask(Intent.DRAIN, "asked")
    assert agent.run() == 0
    assert len(agent.works) == 1


# A worker that runs.


@pytest.fixture
def working(agent, monkeypatch):
    """Let it work with this worker, while this happens at each look."""

    def work(worker, *happens):
        left = list(happens)

        def look():
            (left.pop(0) if left else lambda: agent._control.ask(Intent.STOP, "over"))()

        monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: worker)
        monkeypatch.setattr(agent, "_signal", worker.got.append)
        agent._control.happens = look
        return CeleryAgent._work(agent)

    return work


def gets_ready(agent):
    return lambda: agent._hand.saw({"ready": True})


def test_an_agent_works_once_its_worker_is_ready(agent, working):
    agent._progress.trouble("handler", "it ended")
    states = []
    note = lambda: states.append((agent._beating.state, agent._progress.note))  # noqa: E731
    assert working(Worker(), note, gets_ready(agent), note) is None
    assert states == [
        (AgentState.STARTING, "handler: it ended"),
        (AgentState.WORKING, ""),
    ]


def test_an_agent_that_drains_does_not_work_again(agent, working):
    agent._beating.state = AgentState.DRAINING
    working(Worker(), gets_ready(agent), lambda: None)
    assert agent._beating.state is AgentState.DRAINING


def test_a_worker_that_ends_leaves_its_status_and_no_processes(agent, working):
    worker = Worker()
    assert working(worker, lambda: setattr(worker, "status", 9)) == 9
    assert worker.got == [signal.SIGKILL]


def test_a_worker_with_other_secrets_is_told_to_end_now_and_then(agent, working, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(celery_agent, "time", SimpleNamespace(monotonic=lambda: now[0]))
    worker = Worker(ends_by=())

    def changed():
        agent._beating.secrets._held = Held("2", {})

    def later():
        now[0] += celery_agent.TELL_AGAIN_SECONDS

    not_ready = lambda: agent._hand.saw({"ready": False})  # noqa: E731
    working(worker, gets_ready(agent), changed, lambda: None, later, not_ready, later)
    assert worker.got == [signal.SIGTERM] * 2
    monkeypatch.setattr(celery_agent, "time", time)


# Its end.


@pytest.mark.parametrize(
    ("intent", "ends_by", "got"),
    [
        (Intent.DRAIN, {signal.SIGTERM}, ["SIGTERM", "SIGKILL"]),
        (Intent.DRAIN, {signal.SIGQUIT}, ["SIGTERM", "SIGQUIT", "SIGKILL"]),
        (Intent.STOP, {signal.SIGQUIT}, ["SIGQUIT", "SIGKILL"]),
        (Intent.STOP, {signal.SIGKILL}, ["SIGQUIT", "SIGKILL"]),
        (Intent.FENCED, {signal.SIGQUIT}, ["SIGKILL"]),
    ],
)
def test_a_worker_ends_warm_then_cold_then_by_a_kill(backlog, monkeypatch, intent, ends_by, got):
    agent = Agent(backlog, drain_seconds=0.01)
    worker = agent._worker = Worker(ends_by=ends_by)
    monkeypatch.setattr(agent, "_signal", lambda number: (worker.got.append(number), worker.kill()))
    worker.kill = lambda: setattr(worker, "status", worker.status or -9)
    agent._control.intent = intent
    agent._end_worker()
    assert [number.name for number in worker.got] == got
    if ends_by == {signal.SIGTERM}:
        assert agent._control.pauses == []  # it has ended


def test_a_drain_waits_for_the_worker_until_a_stop(agent, monkeypatch):
    worker = agent._worker = Worker(ends_by={signal.SIGQUIT})
    monkeypatch.setattr(agent, "_signal", worker.got.append)
    agent._control.intent = Intent.DRAIN
    agent._control.happens = lambda: (
        len(agent._control.pauses) == 3 and agent._control.ask(Intent.STOP, "asked")
    )
    agent._end_worker()
    assert len(agent._control.pauses) == 3
    assert worker.got == [signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL]


def test_without_a_worker_there_is_nothing_to_end(agent):
    agent._end_worker()
    agent._tell(signal.SIGTERM)
    agent._signal(signal.SIGKILL)
    ended = agent._worker = Worker()
    ended.status = 0
    agent._tell(signal.SIGTERM)
    assert ended.got == []


def test_all_processes_of_a_worker_get_the_last_signal(agent):
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as worker:
        agent._worker = worker
        agent._signal(signal.SIGKILL)
        assert worker.wait(20) == -signal.SIGKILL
    agent._signal(signal.SIGKILL)  # it is gone


def test_a_fenced_agent_says_so_in_its_exit_code(agent):
    def fenced():
        agent._control.ask(Intent.FENCED, "written off", exit_code=EXIT_FENCED)
        return 7

    agent.plays(fenced)
    assert agent.run() == EXIT_FENCED
