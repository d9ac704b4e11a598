"""The Docker adapter's request for a container, and its view of one that has ended."""

from collections.abc import Sequence

import pytest

from pods.agent.protocol import ENDED_BY
from pods.providers import clients
from pods.providers.base import Phase, PodSpec
from pods.providers.clients import Tls
from pods.providers.docker.mapping import container, inspected, listed, log_lines, made
from pods.providers.docker.options import Options
from pods.providers.docker.refusals import pull_error
from pods.providers.errors import Unavailable

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


def test_an_engine_that_says_why_a_container_ended_is_quoted() -> None:
    machine = inspected(a_container("exited", Error="no such device", ExitCode=5), OPTIONS)
    assert machine.because == "no such device"
    assert inspected(a_container("running", ExitCode=0), OPTIONS).because == ""


def test_a_container_without_labels_has_no_token() -> None:
    bare = a_container("running") | {"Config": {"Labels": None}}
    assert inspected(bare, OPTIONS).token == ""
    row = {"Id": "c1", "Names": ["/x"], "Created": 1, "State": "running", "Labels": None}
    [found] = listed([row], OPTIONS)
    assert (found.machine.token, found.gpus) == ("", frozenset())
    one_each = Options.parse({"gpus_per_pod": 1})
    [older] = listed([row], one_each)
    assert (older.gpus, older.machine.gpu_count) == (frozenset({0}), None)


@pytest.mark.parametrize("body", [None, [], {}, {"Id": ""}, {"Id": 7}])
def test_a_container_that_was_made_without_an_id_may_be_there(body: object) -> None:
    assert made({"Id": "c1"}) == "c1"
    with pytest.raises(Unavailable, match="does not say which"):
        made(body)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\1\0\0\0\0\0\0\3one\2\0\0\0\0\0\0\3two", "onetwo"),
        (b"of a terminal\n", "of a terminal"),
        (b"a\0\0\0\0\0\0\1b", "a       b"),
        (b"\1\0\0", ""),
        (b"\1abcdefgh", "abcdefgh"),
    ],
)
def test_a_log_is_read_with_and_without_frames(raw: bytes, text: str) -> None:
    assert log_lines(raw).strip() == text.strip()


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        ([{"errorDetail": {"message": "m"}}], "m"),
        ([{"errorDetail": {"code": 7}}], "{'code': 7}"),
        ([{"errorDetail": "text"}], "text"),
        ([{"error": "e", "errorDetail": {"message": "m"}}], "e"),
        ([{"status": "Downloading"}, "odd"], ""),
        ([{"error": "e"}], "e"),
    ],
)
def test_the_error_in_the_stream_of_a_pull(stream: Sequence[object], error: str) -> None:
    assert pull_error(stream) == error


@pytest.mark.parametrize(
    "host", ["unix://", "tcp://:2376", "tcp://127.0.0.1", "ssh://127.0.0.1:22", "127.0.0.1:2376"]
)
def test_an_address_that_is_not_an_engines_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"give unix:///var/run/docker\.sock or tcp://HOST"):
        Options.parse({"host": host})


def test_an_engine_is_reached_by_https_where_there_is_a_certificate() -> None:
    keys = {"tls_ca": "/ca", "tls_cert": "/cert", "tls_key": "/key"}
    assert Options.parse({"host": "tcp://gpu:2376", **keys}).base_url == "https://gpu:2376"
    assert Options.parse({"host": "tcp://127.0.0.1:2375"}).base_url == "http://127.0.0.1:2375"
    with pytest.raises(FileNotFoundError):
        clients._trust("https://gpu:2376", Tls(ca="/nowhere", cert="/nowhere", key="/nowhere"))


def test_a_container_gets_the_gpus_that_it_alone_has_or_none() -> None:
    spec = PodSpec(name="n", tag="n", image="i:1")
    assert "DeviceRequests" not in container(spec, "t", OPTIONS)["HostConfig"]
    body = container(spec, "t", OPTIONS, [0, 2])
    assert body["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == ["0", "2"]
    assert body["Labels"]["podfleet.gpus"] == "0,2"


@pytest.mark.parametrize(("label", "gpus"), [("0,2", {0, 2}), ("", set()), ("0,x", {0})])
def test_the_gpus_of_a_container_are_in_its_label(label: str, gpus: set[int]) -> None:
    row = {"Id": "c", "Names": ["/x"], "Created": 1, "State": "exited", "Status": "Exited (0)"}
    [found] = listed([{**row, "Labels": {"podfleet.gpus": label}}], OPTIONS)
    assert (found.gpus, found.machine.because) == (gpus, "Exited (0)")
    [runs] = listed([{**row, "State": "running", "Labels": {}}], OPTIONS)
    assert runs.machine.because == ""


def test_a_list_that_is_no_list_is_no_answer() -> None:
    for body in ({}, None, "x"):
        with pytest.raises(Unavailable, match="is not a list"):
            listed(body, OPTIONS)
    assert inspected(a_container("exited", OOMKilled=True), OPTIONS).because == "out of memory"


@pytest.mark.parametrize(
    "given",
    [
        {"hourly_usd": "NaN"},
        {"hourly_usd": -1},
        {"gpus": "2"},
        {"gpus": 0, "gpus_per_pod": 1},
        {"gpus": True, "gpus_per_pod": 0},
        {"vram_gb": 0},
        {"vram_gb": "24"},
    ],
)
def test_a_number_of_a_host_that_cannot_be_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="give"):
        Options.parse(given)
    assert (
        Options.parse({"gpus": 1, "gpus_per_pod": 1, "vram_gb": 1}).base_url == "http://localhost"
    )
