"""The user's own Celery app on a pod: it is not changed, and the agent sends its heartbeat."""

import contextlib
import os
import signal
from importlib.util import find_spec

import psutil
import pytest
from celery import Celery

from tests.support.celery import rabbitmq
from tests.support.processes import command_of, environment_of
from tests.support.waiting import patience

APP = "celery_workload:app"


class Workload:
    """A queue, what was sent to it, and the agents that work on it."""

    def __init__(self, backlog, agents, broker):
        self.backlog, self.agents, self.broker = backlog, agents, broker
        self.client = backlog.client
        self.app = Celery("sender", broker=broker, set_as_current=False)
        backlog.stream = "gpu"

    def send(self, *numbers, seconds=0.0):
        for number in numbers:
            self.app.send_task("work", (number, seconds), queue="gpu", ignore_result=True)

    def start(self, pod="pod-a", app=APP, words="--concurrency=1", **settings):
        env = {"WORKLOAD_BROKER": self.broker, "WORKLOAD_REDIS": self.backlog.url}
        env["PODFLEET_CELERY_ARGS"] = f"{words} --loglevel=WARNING"
        return self.agents.start(self.backlog, pod, app, env=env, celery_app=app, **settings)

    def finished(self):
        return sorted(int(raw) for raw in self.client.lrange("finished", 0, -1))

    def beat(self, pod="pod-a"):
        return self.backlog.heartbeat(pod)

    def working(self):
        beat = self.beat()
        return beat is not None and beat.state.value == "working"


@pytest.fixture
def workload(backlog, agents):
    return Workload(backlog, agents, backlog.url)


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory):
    program = rabbitmq.installed()
    if program is None:
        pytest.skip("no RabbitMQ: there is no rabbitmq-server on the path")
    with rabbitmq.started(program, tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker


def works_counts_and_is_idle(workload, until):
    workload.start()
    until(workload.working)
    workload.send(*range(20), seconds=0.02)
    until(lambda: workload.finished() == list(range(20)))
    until(lambda: workload.beat().done == 20)
    until(lambda: workload.beat().idle_ms > 400)
    assert workload.beat().in_flight == 0
    workload.send(20, seconds=1.5)
    until(lambda: workload.beat().in_flight == 1 and workload.beat().idle_ms == 0)
    until(lambda: workload.beat().done == 21)
    assert 0 < workload.beat().busy < 1
    assert 1500 < workload.beat().held_ms < workload.beat().uptime_ms
    assert workload.beat().starting > 0
    assert workload.beat().starved is None


def drains(workload, until):
    agent = workload.start()
    workload.send(*range(10), seconds=1.0)
    until(lambda: workload.client.scard("begun"))
    workload.client.set(workload.backlog.keys.command("pod-a"), "drain")
    assert agent.wait(timeout=patience(40)) == 0
    assert workload.beat().state.value == "drained"
    # tasks that were begun are finished; tasks that were only fetched are in the queue again
    begun = {int(raw) for raw in workload.client.smembers("begun")}
    assert set(workload.finished()) == begun
    assert len(begun) < 10
    workload.start("pod-b")
    until(lambda: workload.finished() == list(range(10)))


def test_the_users_worker_works_and_the_agent_reports_it(workload, until):
    works_counts_and_is_idle(workload, until)


@pytest.mark.takes(13)
@pytest.mark.parametrize(("pool", "option"), [("gevent", "--pool={}"), ("eventlet", "-P {}")])
def test_the_tasks_of_a_pool_of_greenlets_run_at_the_same_time(workload, until, pool, option):
    if find_spec(pool) is None:
        pytest.skip(f"{pool} is not installed")
    agent = workload.start(words=f"{option.format(pool)} --concurrency=5")
    until(workload.working)
    for number in range(5):
        workload.app.send_task("meet", (number, 5), queue="gpu", ignore_result=True)
    until(lambda: workload.finished() == list(range(5)))
    [socket] = workload.client.smembers("sockets")
    assert socket.decode().startswith(f"{pool}.")
    until(lambda: workload.beat().done == 5 and workload.beat().in_flight == 0)
    workload.client.set(workload.backlog.keys.command("pod-a"), "drain")
    assert agent.wait(timeout=patience(30)) == 0


@pytest.mark.takes(18)
def test_a_drain_finishes_what_was_begun_and_gives_back_the_rest(workload, until):
    drains(workload, until)


@pytest.mark.slow
def test_on_rabbitmq_it_works_and_drains_in_the_same_way(backlog, agents, until, rabbit):
    works_counts_and_is_idle(Workload(backlog, agents, rabbit.amqp), until)


@pytest.mark.slow
def test_on_rabbitmq_a_drain_gives_back_the_rest(backlog, agents, until, rabbit):
    drains(Workload(backlog, agents, rabbit.amqp), until)


def test_a_drain_that_takes_too_long_is_cut_off(workload, until):
    agent = workload.start(drain_seconds=1)
    workload.send(1, seconds=3600)
    until(lambda: workload.client.scard("begun"))
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=patience(40)) == 0
    assert workload.finished() == []


@pytest.mark.fault(56)
@pytest.mark.takes(11)
def test_without_a_manager_worker_and_agent_end(workload, until):
    """There is one until the worker works. How long that takes depends on this machine."""
    agent = workload.start(orphan_seconds=6)
    lease = workload.backlog.keys.lease
    until(lambda: workload.client.incr(lease) and workload.working())
    assert agent.wait(timeout=patience(40)) == 5


def workers_of(agent):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(agent.pid).children(recursive=True)
    return []


@pytest.mark.takes(8)
def test_a_worker_that_dies_is_started_again(workload, until):
    agent = workload.start()
    until(workload.working)
    [worker, *_] = workers_of(agent)
    os.killpg(worker.pid, signal.SIGKILL)
    until(lambda: "ended by itself with status -9" in workload.beat().note)
    workload.send(1)
    until(lambda: workload.finished() == [1])
    until(lambda: workload.beat().note == "")
    assert agent.poll() is None


def test_nothing_of_a_killed_agents_worker_lives_on(workload, until):
    agent = workload.start()
    until(workload.working)
    family = workers_of(agent)
    assert family
    agent.kill()
    agent.wait()
    until(lambda: not any(p.is_running() and p.status() != "zombie" for p in family))


def test_a_fenced_pods_worker_ends_at_once(workload, until):
    agent = workload.start()
    workload.send(1, seconds=2)
    until(lambda: workload.client.scard("begun"))
    workload.client.set(workload.backlog.keys.fence("pod-a"), "1")
    assert agent.wait(timeout=patience(30)) == 4
    assert workload.finished() == []


def test_an_app_that_cannot_be_found_is_reported(workload, until):
    agent = workload.start(app="no_such_package.celery:app")
    until(lambda: "no_such_package" in getattr(workload.beat(), "note", ""))
    assert workload.beat().state.value == "failed"
    assert agent.wait(timeout=patience(30)) == 3


@pytest.mark.slow  # it failed in two of nine runs beside others: the worker was not told in 40 s
@pytest.mark.timeout(300)
def test_a_worker_has_the_secrets_and_another_one_has_others(workload, until, capfd):
    def put(version, token):
        fields = {"version": version, "env:HF_TOKEN": token}
        workload.client.hset(workload.backlog.keys.secrets, mapping=fields)

    put("v1", "the-first-token")
    agent = workload.start()
    workload.send(*range(4))
    workload.send(4, seconds=2.0)
    until(lambda: workload.client.scard("begun") == 5)
    put("v2", "the-second-token")  # while a task is under way, which is finished first
    until(lambda: workload.finished() == list(range(5)))
    assert workload.client.hgetall("tokens") == {b"the-first-token": b"5"}
    sent = 5

    def one_more():
        nonlocal sent
        workload.send(sent)
        sent += 1
        until(lambda: workload.finished() == list(range(sent)))
        return workload.client.hexists("tokens", "the-second-token")

    until(one_more, 120)  # the agent hears of it with a heartbeat
    until(lambda: workload.beat().done == sent)
    assert workload.beat().note == ""
    for process in psutil.Process(agent.pid).children(recursive=True):
        assert "-token" not in repr([environment_of(process), command_of(process)])
    assert "the-first-token" not in "".join(capfd.readouterr())
