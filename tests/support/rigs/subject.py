"""The object that a provider's test file sets up for `ProviderContract`."""

import threading
from collections.abc import Collection
from typing import Any, Generic, Protocol, TypeVar

from pods.emulators.base import Server, SteppedClock
from pods.providers.base import PodSpec, Provider


class Subject(Protocol):
    """A provider with an empty account at its vendor or emulator."""

    provider: Provider
    secret: str  # the adapter must never show it; "" if it has none
    unknown_id: str  # an id of the right form that no machine has
    one_token_is_one_machine: bool  # whether two creates with one token make one machine

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        """The spec of a pod by a current offer, with the name `<tag>-<token>`."""
        ...

    def reconnected(self) -> Provider:
        """Another adapter for the same account, as another worker has it."""
        ...

    def living(self) -> Collection[str]:
        """The external ids of the machines there, without asking the adapter."""
        ...

    def sent(self) -> int:
        """The number of requests that have arrived; always 0 for a provider that sends none."""
        ...

    def let_pass(self, seconds: float) -> None:
        """Step the vendor's clock; with real time, wait a moment."""
        ...


def a_moment(_: float) -> None:
    """Wait a moment: `let_pass` of a subject with real time."""
    threading.Event().wait(0.02)


class Rig(Protocol):
    """An emulated vendor, and the adapter that is connected to it."""

    clock: SteppedClock
    server: Server
    provider: Provider

    def connect(self) -> Provider:
        """Another adapter for the same account."""
        ...


R = TypeVar("R", bound=Rig)


class EmulatedSubject(Generic[R]):
    """An account at an emulator, on a stepped clock; a subclass adds ids, specs and machines."""

    def __init__(self, rig: R) -> None:
        self.rig = rig
        self.provider: Provider = rig.provider

    def reconnected(self) -> Provider:
        return self.rig.connect()

    def sent(self) -> int:
        return self.rig.server.calls()

    def let_pass(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)
