"""Vast.ai's emulator and an adapter that is connected to it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import stamina

from pods.emulators.base import Server, SteppedClock
from pods.emulators.vastai import VastaiEmulator
from pods.emulators.vastai_contracts import Contract, Pace
from pods.providers import vastai
from pods.providers.base import Machine, Offer, OfferQuery, PodSpec, Provider
from pods.providers.clients import CLIENTS
from tests.support.rigs.subject import EmulatedSubject
from tests.support.vastai_checks import OwnSchemas, VendorSpec, vendor_files

KEY: Final = "k3y-of-the-account-0123456789"
TAG: Final = "pf-test"
ON_DEMAND: Final = OfferQuery(interruptible=False)
BIDS: Final = OfferQuery(interruptible=True)
# Seconds; with the emulator's pace every boot, stop and end is done after them.
A_WHILE: Final = 10.0
MOMENT = timedelta(milliseconds=50)
# The pace for machines that run real agents in real time.
QUICK = Pace(provisioning=MOMENT, loading=MOMENT, creating=MOMENT, stopping=MOMENT, leaving=MOMENT)
LEAVING: Final = timedelta(seconds=3)
STRANGERS: Final = 25  # machines of other people; they fill the first page of every list


@dataclass(slots=True, kw_only=True)
class Rig:
    """The emulated vendor, and the adapter that is connected to it over HTTP."""

    clock: SteppedClock
    emulator: VastaiEmulator
    server: Server
    provider: Provider
    spec_check: VendorSpec | None

    def connect(self, *, key: str = KEY, **options: Any) -> Provider:
        """Another adapter for the same vendor."""
        return vastai.connect(options={"base_url": self.server.url, **options}, secret=key)

    def offer(self, query: OfferQuery = ON_DEMAND) -> Offer:
        """The cheapest offer."""
        return self.provider.offers(query)[0]

    def create(self, token: str = "t1", *, offer: Offer | None = None, **more: Any) -> Machine:
        """Rent a machine by this offer, else by the cheapest on-demand offer."""
        offer = offer or self.offer()
        return self.provider.create(a_spec(token, offer, **more), token=token)

    def running(self, token: str = "t1", *, offer: Offer | None = None) -> Machine:
        """Rent a machine, and wait until it has booted."""
        machine = self.create(token, offer=offer)
        self.clock.advance(A_WHILE)
        return self.provider.status(machine.external_id)

    def tokens(self) -> list[str]:
        """The tokens of the machines that the adapter lists."""
        return [m.token for m in self.provider.list_tagged(TAG)]

    def contract(self, machine: Machine) -> Contract:
        """The contract of a machine at the vendor."""
        with self.server.lock:
            self.emulator.market.settle()
            return self.emulator.market.contracts[int(machine.external_id)]


def a_spec(token: str, offer: Offer, **more: Any) -> PodSpec:
    """The spec of a pod with this token."""
    facts: dict[str, Any] = {
        "name": f"{TAG}-{token}",
        "tag": TAG,
        "offer_key": offer.key,
        "image": "registry.example/worker:1",
        "interruptible": offer.interruptible,
        "env": {"PODFLEET_POD": f"{TAG}-{token}"},
    }
    return PodSpec(**(facts | more))


@contextmanager
def vast(*, slots: int = 3, **facts: Any) -> Iterator[Rig]:
    """A rig that checks each exchange against our schemas, and the vendor's if there is a copy."""
    clock = SteppedClock()
    emulator = VastaiEmulator(clock=clock, **facts)
    for number in range(slots):
        emulator.market.add_slot(usd=str(Decimal("0.3") + Decimal(number) / 1000))
    folder = vendor_files()
    spec_check = None if folder is None else VendorSpec(folder)
    with Server(emulator) as server, stamina.set_testing(True, attempts=20, cap=True):
        server.checks.append(OwnSchemas())
        if spec_check is not None:
            server.checks.append(spec_check)
        provider = vastai.connect(options={"base_url": server.url}, secret=KEY)
        yield Rig(
            clock=clock,
            emulator=emulator,
            server=server,
            provider=provider,
            spec_check=spec_check,
        )
    CLIENTS.close()
    assert server.complaints == []
    assert emulator.leaked == []


class VastaiSubject(EmulatedSubject[Rig]):
    """An account at the emulator."""

    secret = KEY
    unknown_id = "31245678"
    one_token_is_one_machine = False

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        facts = {"image": "registry.example/worker:1.4.2", "env": {"N": "1"}, **changes}
        facts.setdefault("offer_key", self.rig.offer().key)
        return PodSpec(name=f"{tag}-{token}", tag=tag, **facts)

    def living(self) -> Collection[str]:
        contracts = self.rig.emulator.market.contracts.values()
        return [str(c.id) for c in contracts if not c.label.startswith("stranger")]


@contextmanager
def beside_strangers() -> Iterator[Rig]:
    """A rig where somebody else's machines fill the first page of every list."""
    with vast(slots=12, pace=Pace(leaving=LEAVING)) as rig:
        rig.emulator.quirks.log_refusals = 1
        market = rig.emulator.market
        for number in range(STRANGERS):
            facts: dict[str, Any] = {"label": f"stranger-{number}", "image": "i", "args": []}
            slot = market.add_slot()
            market.rent(slot, bid=None, cancel=True, disk=Decimal(8), env={}, **facts)
        yield rig
