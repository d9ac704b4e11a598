"""How large a call may be for the GPU's memory is found once, and other pods begin with it."""

import signal

import pytest

from config.env import ROOT
from pods.agent.control import Control
from pods.agent.fitting import NO_LIMITS, parsed
from pods.agent.forming import Limits
from pods.agent.patience import Patience
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings
from pods.agent.remembering import Remembering
from pods.agent.stream import MOST_FITS, Fenced, Stream
from tests.support.rigs.agent_rig import HANDLERS
from tests.support.waiting import patience

HANDLER = "agent_handlers:HasRoomForFour"
WEEK_MS = 7 * 86_400_000


@pytest.fixture
def start(backlog, agents, tmp_path):
    """Start an agent on a stand-in's GPU. Returns its process and the file with the sizes of its calls."""

    def start_one(pod, gpu="NVIDIA L4", **env):
        calls = tmp_path / pod
        calls.touch()
        path = f"{ROOT}:{HANDLERS}:{HANDLERS / 'nvml'}"
        given = {"PYTHONPATH": path, "CALLS_FILE": str(calls), "STAND_IN_GPU": gpu, **env}
        return agents.start(backlog, pod, HANDLER, env=given, batch_size=16), calls

    return start_one


@pytest.fixture
def run(backlog, start, until):
    """Drain 100 items with one agent, and end it. Returns the sizes of its calls."""

    def run_one(pod, gpu="NVIDIA L4", *, shares=1):
        done = len(backlog.results())
        backlog.put(*[b"x"] * 100)
        agent, calls = start(pod, gpu)
        until(lambda: len(backlog.results()) == done + 100)
        until(lambda: len(fields(backlog)) == shares)
        agent.terminate()
        assert agent.wait(timeout=patience(20)) == 0
        return [int(size) for size in calls.read_text().split()]

    return run_one


def fields(backlog):
    if backlog.client.type(backlog.keys.fits) != b"hash":
        return {}
    return {name.decode(): v for name, v in backlog.client.hgetall(backlog.keys.fits).items()}


@pytest.fixture
def stream(backlog):
    return Stream(settings(backlog))


def settings(backlog):
    return AgentSettings(
        redis_url=backlog.url, fleet="test", pod="a", stream="tasks", group="workers", handler="m:f"
    )


@pytest.mark.takes(10)
def test_the_second_pod_of_a_type_of_gpu_makes_no_failed_call(backlog, run):
    assert max(run("pod-a")) > 4
    [(field, value)] = fields(backlog).items()
    assert field.endswith(":NVIDIA L4 24 GiB")
    assert value.startswith(b"4 0.0 ")
    assert WEEK_MS - 60_000 < backlog.client.pttl(backlog.keys.fits) <= WEEK_MS
    assert max(run("pod-b")) == 4
    assert max(run("pod-c", "NVIDIA H100", shares=2)) > 4


@pytest.mark.takes(10)
def test_a_process_that_begins_again_makes_no_failed_call(backlog, start, until):
    backlog.put(*[b"x"] * 100)
    _, calls = start("pod-a")
    until(lambda: fields(backlog))
    until(lambda: len(backlog.results()) == 100)
    backlog.put(b"crash")
    until(lambda: "crashed" in calls.read_text())
    backlog.client.delete(backlog.keys.fits)  # the agent knows it too
    backlog.put(*[b"x"] * 100)
    until(lambda: len(backlog.results()) == 201)
    after = calls.read_text().partition("crashed")[2].split()
    assert max(map(int, after)) == 4


@pytest.mark.takes(10)
def test_an_agent_that_dies_after_the_halving_leaves_nothing_and_it_is_found_anew(
    backlog, start, until
):
    entries = backlog.put(*[b"x"] * 100)
    agent, calls = start("pod-a", ENDS_AFTER_HALVING="1")
    assert agent.wait(timeout=patience(20)) == -signal.SIGKILL
    assert max(map(int, calls.read_text().split())) > 4
    assert fields(backlog) == {}
    start("pod-a")
    until(lambda: len(backlog.results()) == len(entries))
    until(lambda: fields(backlog))
    backlog.assert_each_has_one_result(entries)


@pytest.mark.takes(15)
@pytest.mark.parametrize("nonsense", [b"0 nan 0", b"9" * 1_000_000])
def test_nonsense_of_another_pod_limits_nobody_and_is_replaced(backlog, run, until, nonsense):
    run("pod-a")
    [field] = fields(backlog)
    backlog.client.hset(backlog.keys.fits, field, nonsense)
    assert max(run("pod-b")) > 4
    until(lambda: fields(backlog)[field].startswith(b"4 0.0 "))


def test_a_key_of_another_type_stops_no_agent(backlog, run):
    backlog.client.set(backlog.keys.fits, "nonsense")
    assert max(run("pod-a", shares=0)) > 4
    assert backlog.heartbeat("pod-a").note == ""


def test_without_nvml_an_agent_shares_nothing(backlog, agents, until, tmp_path):
    calls = tmp_path / "calls"
    calls.touch()
    entries = backlog.put(*[b"x"] * 100)
    agents.start(backlog, "pod-a", HANDLER, env={"CALLS_FILE": str(calls)}, batch_size=16)
    until(lambda: len(backlog.results()) == len(entries))
    assert fields(backlog) == {}


def test_what_was_read_before_another_pod_wrote_is_not_written(backlog, stream):
    raw, _ = stream.fits("f")
    assert raw == b""
    assert stream.fits("f", before=b"", after=b"8")[0] == b"8"
    assert stream.fits("f", before=b"", after=b"16")[0] == b"8"  # it was frozen meanwhile
    assert stream.fits("f", before=b"8", after=b"4")[0] == b"4"
    assert backlog.client.hgetall(backlog.keys.fits) == {b"f": b"4"}


def test_the_smaller_limits_win(backlog, stream):
    patient = Patience(Progress(), Control(), 4)
    agent = Remembering(settings(backlog), stream, patient, lambda _: "NVIDIA L4 24 GiB", {})
    assert agent.limits() == NO_LIMITS
    for limits in (Limits(16), Limits(8, 100.0), Limits(32, 50.0), Limits(64)):
        agent._write(limits, 0)
    [(field, value)] = fields(backlog).items()
    _, now_ms = stream.fits(field)
    assert parsed(value, now_ms) == Limits(8, 50.0)


def test_a_pod_that_is_written_off_neither_reads_nor_writes(backlog, stream):
    backlog.client.set(backlog.keys.fence("a"), "1")
    for after in (b"", b"8"):
        with pytest.raises(Fenced):
            stream.fits("f", after=after)
    assert not backlog.client.exists(backlog.keys.fits)


def test_a_pod_that_fills_the_key_loses_what_it_wrote(backlog, stream):
    backlog.client.hset(backlog.keys.fits, mapping={f"f{n}": "x" for n in range(MOST_FITS)})
    stream.fits("f", after=b"8")
    assert fields(backlog) == {"f": b"8"}
