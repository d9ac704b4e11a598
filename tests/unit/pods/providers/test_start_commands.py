"""How each vendor gets the start command of a machine whose image has no agent."""

import shlex
from dataclasses import replace
from typing import Any

import pytest

from pods.accounts.start_command import start_command
from pods.agent.protocol import CACHE
from pods.emulators.runpod_requests import shape_errors
from pods.emulators.vastai_requests import checked_create
from pods.providers.base import PodSpec
from pods.providers.docker import mapping as docker
from pods.providers.docker.options import Options as DockerOptions
from pods.providers.errors import Refused
from pods.providers.runpod import mapping as runpod
from pods.providers.runpod.options import Options as RunPodOptions
from pods.providers.vastai import market as vastai

SPEC = PodSpec(
    name="pf-a-1",
    tag="pf-a",
    offer_key="COMMUNITY:NVIDIA RTX A5000:1:",
    image="python:3.12",
    env={"PODFLEET_BUNDLE": "ab" * 32},
    command=start_command(),
)
PLAIN = replace(SPEC, command=())


def test_docker_runs_it_instead_of_the_images_entrypoint() -> None:
    body = docker.container(SPEC, "1", DockerOptions())
    assert (body["Entrypoint"], body["Cmd"]) == (list(start_command()), [])
    assert not docker.container(PLAIN, "1", DockerOptions()).keys() & {"Entrypoint", "Cmd"}


def test_runpod_gets_it_as_one_text_and_keeps_what_is_installed_on_its_volume() -> None:
    body = runpod.create_body(SPEC, "1", RunPodOptions(volume_gb=20))
    assert shlex.split(body["args"]) == list(start_command())
    assert body["env"][CACHE] == "/workspace/.podfleet"
    assert shape_errors(body) == []
    assert CACHE not in runpod.create_body(SPEC, "1", RunPodOptions())["env"]
    plain = runpod.create_body(PLAIN, "1", RunPodOptions(volume_gb=20))
    assert "args" not in plain
    assert CACHE not in plain["env"]


def test_vastai_gets_it_as_arguments_within_its_limit() -> None:
    body: dict[str, Any] = vastai.create_body(SPEC, None)
    assert checked_create(body)["args"] == list(start_command())
    assert vastai.create_body(PLAIN, None)["args"] == []
    with pytest.raises(Refused, match="5000 characters"):
        vastai.create_body(replace(SPEC, command=["x" * 5000]), None)


def test_the_words_of_a_fleet_replace_the_images_command_and_its_entrypoint_stays() -> None:
    spec = replace(SPEC, command=(), args=("python", "-m", "pods.agent", "two words"))
    body = docker.container(spec, "1", DockerOptions())
    assert body["Cmd"] == list(spec.args)
    assert "Entrypoint" not in body
    sent = runpod.create_body(spec, "1", RunPodOptions())
    assert shlex.split(sent["args"]) == list(spec.args)
    assert checked_create(vastai.create_body(spec, None))["args"] == list(spec.args)


def test_an_emulated_runpod_takes_at_most_50_variables() -> None:
    body = runpod.create_body(SPEC, "1", RunPodOptions())
    body["env"] = {f"V{number}": "" for number in range(51)}
    assert shape_errors(body) == ["$.env: more than 50 variables"]
