"""A real backlog drained by containers of a real Docker engine."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from config.env import ROOT
from pods.providers.docker import connect
from pods.providers.errors import ProviderError
from tests.integration.stack.conftest import Installation
from tests.integration.stack.test_phases import FAST, ready, results, write_items

IMAGE = "podfleet-agent-test:1"
# An image with Python 3.10+; nothing is fetched that is not here already.
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


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_containers_drain_a_backlog_and_none_is_left(
    installation: Installation,
    agent_image: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    fleet = installation.fleet
    options = json.dumps({"network": "host", "capacity": 3, "hourly_usd": "0.2"})
    installation.cli(
        "shell",
        "-v",
        "0",
        "-c",
        "from pods.models import Account; import json;"
        f"Account.objects.create(name='box', provider='docker', options=json.loads('{options}'))",
    )
    fleet(
        "create", "emb", "--account", "box", "--image", agent_image, *FAST, "--max-instances", "3"
    )
    fleet("enqueue", "emb", str(write_items(tmp_path / "a.txt", 3000)))
    installation.start(monkeypatch)
    installation.until(lambda: ready(fleet("show", "emb")) == 3, seconds=120)
    installation.until(lambda: fleet("show", "emb")["depth"] == 0, seconds=200)
    installation.until(lambda: fleet("show", "emb")["pods"] == [], seconds=120)
    assert sorted(results(installation.redis_url)) == sorted(f"a.txt:{n + 1}" for n in range(3000))
    provider = connect(options=json.loads(options), secret=None)
    assert provider.list_tagged("pf") == []
