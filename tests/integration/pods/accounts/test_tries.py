"""What a try of an account says, and what its machines print."""

from typing import Any

import pytest

from pods.accounts import editing, machine_logs
from pods.models import Pod
from pods.providers.errors import AuthFailed, RateLimited, Refused
from tests.support.factories import an_account
from tests.support.world import World

pytestmark = pytest.mark.django_db


class Refuses:
    """A provider whose list fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def list_tagged(self, _tag: str) -> Any:
        raise self.error


def tried(world: World, error: Exception, **facts: Any) -> editing.Tried:
    account = an_account("runpod", **facts)
    return editing.try_account(account, connect=lambda _: Refuses(error))  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"secret_ref": "env:THE_KEY"}, "the key from env:THE_KEY"),
        ({"sealed_secret": "v1:x"}, "the key from the stored secret"),
        ({}, "a call without a key"),
    ],
)
def test_a_refused_key_is_named_by_its_place(
    world: World, facts: dict[str, str], what: str
) -> None:
    said = tried(world, AuthFailed("no"), **facts)
    assert (said.good, said.says) == (False, f"runpod refuses {what}: no")


def test_a_vendor_that_cannot_be_asked_now_says_nothing_about_the_key(world: World) -> None:
    assert tried(world, RateLimited("slow down")).good is None
    assert tried(world, Refused("no")).good is False


def test_a_pod_without_a_machine_has_no_output(world: World) -> None:
    with pytest.raises(LookupError, match="no machine yet"):
        machine_logs.logs_of(world.requested(), connect=world.connect)


def test_the_output_of_a_machine_has_no_control_characters(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod: Pod = world.booted()
    said = "one\n\x1b[31mred\x1b[0m\ttab\x07\r\n"
    monkeypatch.setattr(world.provider, "logs", lambda external_id, tail: f"{external_id} {said}")
    assert machine_logs.logs_of(pod, connect=world.connect) == (
        f"{pod.external_id} one\nred\ttab\n"
    )
