"""What vendors, agents and servers say is stored without the passwords in it."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from fleet.tick import gathering
from pods import health, lifecycle
from pods.accounts import breaker, connecting, machine_logs
from pods.agent.protocol import AgentState
from pods.models import Account, Pod, PodEvent
from pods.providers.errors import Refused
from pods.providers.local.options import Options
from pods.providers.local.provider import LocalProvider
from pods.rules import PodRule
from pods.states import READY, TERMINATING
from tests.support.factories import a_pod
from tests.support.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.fault(66)]
SAID = "cannot reach redis://pod:hunter2@10.0.0.1:6379/0?password=hunter3 with Bearer hunter4"


def test_a_pod_and_its_events_have_no_password(world: World) -> None:
    pod = a_pod(world.fleet, READY)
    lifecycle.note(pod, by="health", because=SAID)
    lifecycle.postpone(pod, by=timedelta(seconds=1), because=SAID)
    lifecycle.move(
        pod, TERMINATING, by="health", rule=PodRule.AGENT_FAILED, because=SAID,
        retire_because=SAID, lost_because=SAID,
    )  # fmt: skip
    row = str(Pod.objects.filter(pk=pod.pk).values().get())
    events = str(list(PodEvent.objects.filter(pod=pod).values_list("because", flat=True)))
    for text in (row, events):
        assert "hunter" not in text
        assert "redis://***@10.0.0.1:6379/0" in text


def test_an_accounts_last_error_has_no_password(world: World) -> None:
    breaker.failed(world.account, Refused(SAID))
    assert "hunter" not in Account.objects.get(pk=world.account.pk).last_error


def test_what_an_agent_says_of_itself_has_no_password(world: World) -> None:
    pod = world.booted()
    world.beat(pod, state=AgentState.WORKING, note=SAID)
    health.sweep_account(world.account, connect=world.connect)
    pod.refresh_from_db()
    assert pod.note.startswith("cannot reach redis://***@")
    assert "hunter" not in pod.note


def test_the_reason_why_a_backlog_is_unknown_has_no_password(world: World) -> None:
    with a_server_that_says(SAID) as port:
        world.fleet.backlog_url = f"redis://127.0.0.1:{port}/0"
        depth, because = gathering.measure(world.fleet)
    assert depth is None
    assert "cannot reach redis://***@" in because
    assert "hunter" not in because


def test_the_output_of_a_machine_has_no_password(world: World) -> None:
    pod = a_pod(world.fleet, READY, handler_env={"HF_TOKEN": "hunter6", "PACE": "hunted"})
    password = connecting.redis_passwords(pod)[0]
    adapter = AnybodysAdapter(Options.parse({"root": "/nowhere"}))
    adapter.said = f"{SAID}, with {password}, hunter6 and hunted"
    said = machine_logs.logs_of(pod, connect=lambda _: adapter)
    assert said == (
        "cannot reach redis://***@10.0.0.1:6379/0?password=*** with Bearer ***, "
        "with ***, *** and hunted"
    )


class AnybodysAdapter(LocalProvider):
    """An adapter that passes on what a machine prints."""

    said = ""

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The text of the machine."""
        return self.said


@contextmanager
def a_server_that_says(text: str) -> Iterator[int]:
    """A server of Redis that answers each command with this error; its port."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while asked := self.request.recv(65536):
                commands = 1 + asked.count(b"\r\n*")
                self.request.sendall(b"-ERR %s\r\n" % text.encode() * commands)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
