"""The Docker adapter's request for a container, and its view of one that has ended."""

import pytest

from pods.agent.protocol import ENDED_BY
from pods.providers.base import Phase, PodSpec
from pods.providers.docker.mapping import container, inspected
from pods.providers.docker.options import Options

OPTIONS = Options.parse({"hourly_usd": "0.2"})


def a_container(status: str, **state: object) -> dict[str, object]:
    return {
        "Id": "c1",
        "Name": "/pf-a-t1",
        "Created": "2026-11-24T10:00:00.123456789Z",
        "State": {"Status": status, "ExitCode": 0, **state},
        "Config": {"Labels": {"podfleet.token": "t1"}},
    }


@pytest.mark.fault(56)
def test_an_agent_that_ends_also_ends_its_container_because_nothing_restarts_it() -> None:
    spec = PodSpec(
        name="pf-a-t1", tag="pf-a", image="you/agent:1", env={"A": "b", ENDED_BY: "runpod:pf-a-t1"}
    )
    body = container(spec, "t1", OPTIONS)
    assert body["Env"] == ["A=b"]  # the container's host may be rented
    assert body["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert "AutoRemove" not in body["HostConfig"]  # its end can still be read
    ended = inspected(a_container("exited", ExitCode=5), OPTIONS)
    assert (ended.phase, ended.because, ended.hourly_usd) == (Phase.STOPPED, "exited with 5", 0)


def test_an_unknown_word_is_never_read_as_gone() -> None:
    machine = inspected(a_container("hibernating"), OPTIONS)
    assert (machine.phase, machine.raw_status) == (Phase.UNKNOWN, "hibernating")
    assert machine.hourly_usd > 0
