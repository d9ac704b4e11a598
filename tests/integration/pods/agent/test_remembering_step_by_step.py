"""What one agent reads and writes of the size of calls, on a real server and without its handler."""

import logging

import pytest

from pods.agent.control import Control
from pods.agent.fitting import NO_LIMITS, parsed, written
from pods.agent.forming import Limits
from pods.agent.patience import Patience
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings
from pods.agent.remembering import Remembering
from pods.agent.stream import Stream


class Overtaken(Stream):
    """Another pod writes just before its first write."""

    other = b""

    def fits(self, field, *, before=b"", after=b""):
        if after and self.other:
            super().fits(field, before=before, after=self.other)
            self.other = b""
        return super().fits(field, before=before, after=after)


class Pod:
    def __init__(self, backlog, gpu="NVIDIA L4 22 GiB"):
        settings = AgentSettings(
            redis_url=backlog.url, fleet="test", pod="a", stream="tasks", group="workers",
            handler="m:f",
        )  # fmt: skip
        self.backlog, self.stream = backlog, Overtaken(settings)
        patience = Patience(Progress(), Control(), 4)
        self.remembering = Remembering(settings, self.stream, patience, lambda _: gpu, {})
        self.field = self.remembering._field()

    def write(self, limits):
        self.remembering._write(limits, 0)

    @property
    def kept(self):
        return self.backlog.client.hgetall(self.backlog.keys.fits)

    def now_ms(self):
        return self.stream.fits("x")[1]

    def known(self):
        return parsed(*self.stream.fits(self.field))


@pytest.fixture
def pod(backlog):
    return Pod(backlog)


def test_the_smaller_limits_are_read_and_written(pod, caplog):
    with caplog.at_level(logging.INFO, "podfleet.agent"):
        assert pod.remembering.limits() == NO_LIMITS
        assert caplog.messages == []
        pod.write(Limits(16))
        pod.remembering.found(Limits(32))
        assert pod.remembering.limits() == Limits(16)
    assert [message.split()[0] for message in caplog.messages] == ["fits_written", "fits_read"]
    pod.write(Limits(8))
    assert pod.known() == Limits(8)


def test_a_limit_that_is_not_smaller_does_not_make_the_known_one_younger(pod):
    old = written(Limits(16), pod.now_ms() - 1000)
    pod.backlog.client.hset(pod.backlog.keys.fits, pod.field, old)
    pod.write(Limits(32))
    assert pod.kept == {pod.field.encode(): old}


@pytest.mark.parametrize(("other", "least"), [(8, 8), (32, 16)])
def test_what_another_pod_writes_at_the_same_time_counts_too(pod, other, least):
    pod.stream.other = written(Limits(other), pod.now_ms())
    pod.write(Limits(16))
    assert pod.known() == Limits(least)


def test_where_the_type_of_the_gpu_is_unknown_nothing_is_shared(backlog):
    pod = Pod(backlog, gpu="")
    pod.remembering.found(Limits(32))
    pod.write(Limits(32))
    assert pod.kept == {}
    backlog.client.hset(backlog.keys.fits, "", written(Limits(2), pod.now_ms()))
    assert pod.remembering.limits() == Limits(32)
