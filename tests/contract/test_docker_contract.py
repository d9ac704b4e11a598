"""The contract, held by containers of a real Docker engine; skipped where there is none."""

import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pods.providers.base import Phase, PodSpec, Provider
from pods.providers.docker import connect
from pods.providers.errors import NoCapacity, ProviderError, Refused, Unavailable
from tests.contract.provider_contract import (
    ProviderContract,
    reaches,
    rent_running,
)
from tests.support.rigs.subject import a_moment

SOCKET = Path("/var/run/docker.sock")
IMAGE = "podfleet-test-wait:1"


def _docker(*args: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(["docker", *args], input=stdin, capture_output=True, check=False)
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def _engine() -> str:
    """Why there is no engine to test against. Empty where there is one."""
    try:
        connect(options={}, secret=None).list_tagged("nobody")
    except ProviderError as exc:
        return f"no Docker engine answers on {SOCKET}: {exc}"
    return ""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small image that is made here: a static program that sleeps, imported as a file system."""
    if why := _engine():
        pytest.skip(why)
    if not _docker("image", "inspect", "-f", "{{.Id}}", IMAGE):
        root = tmp_path_factory.mktemp("image")
        source = root / "wait.c"
        source.write_text(
            "#include <signal.h>\n#include <stdio.h>\n#include <unistd.h>\n#include <stdlib.h>\n"
            "static void end(int s) { _exit(0); }\n"
            'int main(void) { signal(SIGTERM, end); puts("it runs"); fflush(stdout);'
            " for (;;) pause(); }\n"
        )
        try:
            subprocess.run(["cc", "-static", "-o", root / "wait", source], check=True)
        except (OSError, subprocess.CalledProcessError) as exc:
            pytest.skip(f"no C compiler to make a test image with: {exc}")
        source.unlink()
        tar = subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True)
        assert _docker("import", "--change", 'CMD ["/wait"]', "-", IMAGE, stdin=tar.stdout)
    return IMAGE


class DockerSubject:
    """A host with room, which has only the containers of this test."""

    secret = ""
    unknown_id = "f" * 64
    one_token_is_one_machine = True

    def __init__(self, image: str, **options: Any) -> None:
        self.image, self.options = image, {"capacity": 50, "network": "none", **options}
        self.mark = uuid4().hex[:8]
        self.provider = self.reconnected()

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        facts = {"offer_key": "docker", "image": self.image, **changes}
        return PodSpec(name=f"{tag}-{token}", tag=tag, **facts)

    def reconnected(self) -> Provider:
        return connect(options=self.options, secret=None)

    def living(self) -> Collection[str]:
        return _docker("ps", "-aq", "--no-trunc", "--filter", "label=podfleet.token").split()

    def sent(self) -> int:
        return 0

    def let_pass(self, seconds: float) -> None:
        a_moment(seconds)


@pytest.fixture
def subject(image: str) -> Iterator[DockerSubject]:
    subject = DockerSubject(image)
    for leftover in subject.living():
        _docker("rm", "-f", leftover)
    yield subject
    for external_id in subject.living():
        _docker("rm", "-f", external_id)


@pytest.mark.docker
class TestDocker(ProviderContract):
    def test_a_container_that_was_created_and_never_started_is_started_by_the_next_try(
        self, subject: DockerSubject
    ) -> None:
        _docker(
            "create", "--name", "pf-a-t1", "--label", "podfleet.token=t1", subject.image, "/wait"
        )
        machine = subject.provider.create(subject.spec("pf-a", "t1"), token="t1")
        assert reaches(subject, machine.external_id, Phase.RUNNING).token == "t1"
        assert len(subject.living()) == 1

    def test_a_container_that_ends_by_itself_says_how(self, subject: DockerSubject) -> None:
        machine = rent_running(subject, "t1")
        _docker("kill", machine.external_id)
        ended = reaches(subject, machine.external_id, Phase.STOPPED)
        assert ended.because == "exited with 137"

    def test_the_host_takes_no_more_than_its_capacity(self, image: str) -> None:
        small = DockerSubject(image, capacity=1)
        machine = rent_running(small, "t1")
        with pytest.raises(NoCapacity):
            small.provider.create(small.spec("pf-a", "t2"), token="t2")
        small.provider.destroy(machine.external_id)

    def test_an_image_that_nobody_has_is_not_rented_again_and_again(
        self, subject: DockerSubject
    ) -> None:
        with pytest.raises((Refused, Unavailable)):
            subject.provider.create(
                subject.spec("pf-a", "t1", image="localhost:1/nobody:1"), token="t1"
            )
        assert subject.living() == []

    def test_the_output_of_a_machine_can_be_read(self, subject: DockerSubject) -> None:
        machine = rent_running(subject, "t1")
        assert subject.provider.logs(machine.external_id).strip() == "it runs"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"hosts": "x"}, "unknown option"),
        ({"host": "http://x"}, "give unix:"),
        ({"host": "tcp://gpu-box:2375"}, "without TLS"),
        ({"host": "tcp://gpu-box:2376", "tls_ca": "/ca.pem"}, "all of tls_ca"),
        ({"capacity": -1}, "capacity"),
        ({"capacity": True}, "capacity"),
        ({"hourly_usd": "cheap"}, "USD per hour"),
        ({"hourly_usd": "-1"}, "0 or above"),
        ({"network": "a b"}, "network"),
        ({"binds": ["models"]}, "binds"),
    ],
)
def test_a_wrong_option_is_named_with_what_would_be_right(
    options: dict[str, Any], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        connect(options=options, secret=None)


def test_an_engine_that_is_not_there_is_unavailable_and_its_list_not_empty(tmp_path: Path) -> None:
    nobody = connect(options={"host": f"unix://{tmp_path}/none.sock"}, secret=None)
    with pytest.raises(Unavailable):
        nobody.list_tagged("pf-a")
