"""Containers of a real Docker engine work off a real backlog."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from config.env import ROOT
from pods.providers.base import Phase
from pods.providers.docker import connect
from pods.providers.errors import ProviderError
from tests.support.installation import FAST, Installation, ready, results, write_items

IMAGE = "podfleet-agent-test:1"
# An image with Python 3.10+; nothing is downloaded.
BASE = os.environ.get("TEST_BASE_IMAGE", "python:3.12-slim")


@pytest.fixture(scope="module")
def agent_image() -> str:
    try:
        connect(options={}, secret=None).list_tagged("nobody")
    except ProviderError as exc:
        pytest.skip(f"no Docker engine: {exc}")
    found = subprocess.run(["docker", "image", "inspect", BASE], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"no base image {BASE} on this engine; TEST_BASE_IMAGE names one")
    built = subprocess.run(
        [
            *("docker", "build", "-q", "--network", "host", "-f", "pods/agent/Dockerfile"),
            *("-t", IMAGE, "--build-arg", f"BASE_IMAGE={BASE}", "."),
        ],
        cwd=ROOT,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return IMAGE


def account(installation: Installation) -> dict[str, object]:
    """Create an account for three containers on this host; return its options."""
    options = {"network": "host", "capacity": 3, "hourly_usd": "0.2"}
    installation.rows("account", "box", "docker", json.dumps(options))
    return options


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_containers_work_off_a_backlog_and_none_is_left(
    installation: Installation,
    agent_image: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    fleet, options = installation.fleet, account(installation)
    fleet(
        "create", "emb", "--account", "box", "--image", agent_image, *FAST, "--max-instances", "3"
    )
    fleet("enqueue", "emb", str(write_items(tmp_path / "a.txt", 3000)))
    installation.start(monkeypatch)
    installation.until(lambda: ready(installation.look("emb")) == 3, seconds=120)
    installation.until(lambda: installation.look("emb")["depth"] == 0, seconds=200)
    installation.until(lambda: installation.look("emb")["pods"] == [], seconds=120)
    assert sorted(results(installation.redis_url)) == sorted(f"a.txt:{n + 1}" for n in range(3000))
    provider = connect(options=options, secret=None)
    assert provider.list_tagged("pf") == []


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault(56)
def test_containers_that_see_no_manager_end_themselves(
    installation: Installation,
    agent_image: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    fleet, options = installation.fleet, account(installation)
    limits = ("--max-instances", "2", "--orphan-seconds", "5")
    fleet("create", "emb", "--account", "box", "--image", agent_image, *FAST, *limits)
    fleet("enqueue", "emb", str(write_items(tmp_path / "a.txt", 3000)))
    installation.start(monkeypatch)
    installation.until(lambda: ready(installation.look("emb")) == 2, seconds=120)
    installation.kill_everything(pods=False, redis=False)
    provider = connect(options=options, secret=None)
    assert len(provider.list_tagged("pf")) == 2
    installation.until(
        lambda: {m.phase for m in provider.list_tagged("pf")} == {Phase.STOPPED}, seconds=120
    )
    for machine in provider.list_tagged("pf"):
        assert provider.status(machine.external_id).because == "exited with 5"
        provider.destroy(machine.external_id)
