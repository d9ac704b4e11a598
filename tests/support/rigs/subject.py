"""What a provider's test file sets up for `ProviderContract`."""

import threading
from collections.abc import Collection
from typing import Any, Generic, Protocol, TypeVar

from pods.emulators.base import Server, SteppedClock
from pods.providers.base import PodSpec, Provider


class Subject(Protocol):
    """A provider with what is behind it, as its test file sets it up: a clean account."""

    provider: Provider
    secret: str  # what the adapter must never show; "" where it has none
    unknown_id: str  # an id of the right form that nothing has
    one_token_is_one_machine: bool  # of two creates with one token

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        """What a pod asks for, on an offer of now; named `<tag>-<token>`."""
        ...

    def reconnected(self) -> Provider:
        """Another adapter for the same account, as another worker has it."""
        ...

    def living(self) -> Collection[str]:
        """The external ids of what exists there, by another way than the adapter."""
        ...

    def sent(self) -> int:
        """How many requests have arrived; always 0 where none are sent."""
        ...

    def let_pass(self, seconds: float) -> None:
        """Step the vendor's clock; where time is real, wait a moment."""
        ...


def a_moment(_: float) -> None:
    """`let_pass` of a subject whose time is real."""
    threading.Event().wait(0.02)


class Rig(Protocol):
    """An emulated vendor, and the adapter that talks to it."""

    clock: SteppedClock
    server: Server
    provider: Provider

    def connect(self) -> Provider:
        """Another adapter for the same account."""
        ...


R = TypeVar("R", bound=Rig)


class EmulatedSubject(Generic[R]):
    """An account at an emulator, whose time is stepped; a vendor adds its ids, specs and books."""

    def __init__(self, rig: R) -> None:
        self.rig = rig
        self.provider: Provider = rig.provider

    def reconnected(self) -> Provider:
        return self.rig.connect()

    def sent(self) -> int:
        return self.rig.server.calls()

    def let_pass(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)
