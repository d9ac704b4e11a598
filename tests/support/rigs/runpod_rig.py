"""RunPod's emulator and an adapter that is connected to it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import stamina

from pods.emulators.base import Server, SteppedClock
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_state import RunPodState
from pods.providers.base import Machine, Offer, OfferQuery, PodSpec, Provider
from pods.providers.clients import CLIENTS
from pods.providers.runpod import connect
from tests.support.rigs.subject import EmulatedSubject
from tests.support.vendor_documents import own_schemas, vendor_document, vendor_schemas

KEY = "rpa_0123456789SECRETKEY"
DOCUMENT = "runpod-rest-v2-openapi.json"
TAG = "pf-a1b2c3-7"
# Values that must never be shown; the vendor repeats requests in its refusals.
ENV = {"PODFLEET_REDIS_URL": "redis://pod-7:s3cretpassword@backlog.example:6379/0", "N": "1"}
A_WHILE = 3600  # seconds; every boot ends within them
PODS = "/v2/pods"
POD = r"/v2/pods/[^/]+"
ACTION = r"/v2/pods/[^/]+/action"


def a_spec(token: str, offer: str, **changes: Any) -> PodSpec:
    """The spec of a pod, as a fleet makes it."""
    values: dict[str, Any] = {
        "name": f"{TAG}-{token}",
        "tag": TAG,
        "offer_key": offer,
        "image": "registry.example/worker:1.4.2",
        "env": ENV,
        "disk_gb": 40,
        **changes,
    }
    return PodSpec(**values)


@dataclass(slots=True, kw_only=True)
class Rig:
    """An account at an emulated RunPod."""

    clock: SteppedClock
    state: RunPodState
    emulator: RunPodEmulator
    server: Server
    provider: Provider

    def connect(self, secret: str = KEY, **options: Any) -> Provider:
        """Another adapter for the same vendor."""
        return connect(options={"base_url": self.server.url, **options}, secret=secret)

    def offer(self, **wanted: Any) -> Offer:
        """The cheapest offer for this query."""
        return min(self.provider.offers(OfferQuery(**wanted)), key=lambda o: o.hourly_usd)

    def create(self, token: str = "aa11", **changes: Any) -> Machine:
        """Rent a machine by the cheapest offer."""
        return self.provider.create(a_spec(token, self.offer().key, **changes), token=token)

    def running(self, token: str = "aa11") -> Machine:
        """Rent a machine, and wait until its container runs."""
        machine = self.create(token)
        self.clock.advance(A_WHILE)
        return self.provider.status(machine.external_id)

    def made(self) -> list[str]:
        """The tokens of the machines at the vendor."""
        return [str(pod.request["name"]).rpartition("-")[2] for pod in self.state.living()]


@contextmanager
def runpod(**state: Any) -> Iterator[Rig]:
    """A rig that checks each exchange against our schemas, and the vendor's document if there is one."""
    clock = SteppedClock()
    emulator = RunPodEmulator(RunPodState(clock=clock, **state))
    with Server(emulator) as server, stamina.set_testing(True, attempts=3):
        server.checks.append(own_schemas("runpod.json"))
        if document := vendor_document(DOCUMENT):
            server.checks.append(vendor_schemas(document, skip="/graphql"))
        provider = connect(options={"base_url": server.url}, secret=KEY)
        rig = Rig(
            clock=clock, state=emulator.state, emulator=emulator, server=server, provider=provider
        )
        yield rig
        CLIENTS.close()
    assert not server.complaints, server.complaints


class RunPodSubject(EmulatedSubject[Rig]):
    """An account at the emulator."""

    secret = KEY
    unknown_id = "7h9k2m4n6p"
    one_token_is_one_machine = False

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        facts = {"image": "registry.example/worker:1.4.2", "env": {"N": "1"}, **changes}
        facts.setdefault("offer_key", self.rig.offer(min_vram_gb=20).key)
        return PodSpec(name=f"{tag}-{token}", tag=tag, **facts)

    def living(self) -> Collection[str]:
        return [pod.id for pod in self.rig.state.living()]
