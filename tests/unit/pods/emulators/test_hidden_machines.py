"""A machine whose destroy was accepted, that no answer shows for a while, and that lives and bills."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import Desk, Request, SteppedClock
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_state import RunPodState
from pods.emulators.vastai import VastaiEmulator
from tests.simulation.draws import Draws
from tests.simulation.vendors import RunPod, Vastai, Vendor

HIDDEN = 600
AUTH = {"authorization": "Bearer any-key"}
VENDORS = pytest.mark.parametrize("make", [RunPod, Vastai], ids=["runpod", "vastai"])


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where a vendor lists its machines, and where one of them is."""

    many: str
    one: str


PATHS = {
    "runpod": Paths(many="/v2/pods", one="/v2/pods/{}"),
    "vastai": Paths(many="/api/v1/instances/", one="/api/v0/instances/{}/"),
}


def answer(vendor: Vendor, method: str, path: str) -> Any:
    request = Request(method=method, path=path, query={}, headers=AUTH, raw=b"{}")
    reply = vendor.desk.exchange(request)
    assert reply is not None
    return reply


def listed(vendor: Vendor, machine: str) -> bool:
    return f'"{machine}"' in answer(vendor, "GET", PATHS[vendor.name].many).body().decode().replace(
        f'"id": {machine},', f'"id": "{machine}",'
    )


@VENDORS
def test_a_hidden_machine_is_in_no_answer_bills_on_and_comes_back(
    make: Callable[[SteppedClock, Draws], Vendor],
) -> None:
    clock = SteppedClock()
    vendor = make(clock, Draws(1))
    machine = vendor.rent("pf-sim-1-a", Draws(1).random)
    assert machine is not None
    clock.advance(300)
    one = PATHS[vendor.name].one.format(machine)
    assert listed(vendor, machine)
    vendor.hide_next(HIDDEN)
    assert answer(vendor, "DELETE", one).status in {200, 204}
    assert vendor.hidden(machine)
    assert not listed(vendor, machine)
    before = vendor.billed_usd(machine)
    clock.advance(HIDDEN - 1)
    assert not listed(vendor, machine)
    assert vendor.billed_usd(machine) > before
    clock.advance(1)
    assert listed(vendor, machine)
    assert not vendor.hidden(machine)
    assert machine in {m.id for m in vendor.machines()}
    answer(vendor, "DELETE", one)  # only the first one was hidden
    assert machine not in {m.id for m in vendor.machines()}


def test_a_hidden_machine_has_no_status() -> None:
    clock = SteppedClock()
    state = RunPodState(clock=clock, hides=HIDDEN)
    runpod = Desk(RunPodEmulator(state))
    request = {"name": "a", "image": "i", "cloud": "COMMUNITY"}
    pod = state.create({**request, "gpu": {"id": "NVIDIA RTX A5000", "count": 1}})
    state.delete(pod.id)
    shown = Request(method="GET", path=f"/v2/pods/{pod.id}", query={}, headers=AUTH)
    assert getattr(runpod.exchange(shown), "status", None) == 404
    vastai = VastaiEmulator(clock=clock, limits={}, credit=Decimal(100))
    slot = vastai.market.add_slot()
    made = vastai.market.rent(
        slot, bid=None, cancel=True, disk=Decimal(9), label="a", image="i", args=[], env={}
    )
    vastai.quirks.hides = HIDDEN
    path = f"/api/v0/instances/{made.id}/"
    desk = Desk(vastai)
    desk.exchange(Request(method="DELETE", path=path, query={}, headers=AUTH, raw=b"{}"))
    reply = desk.exchange(Request(method="GET", path=path, query={}, headers=AUTH))
    assert reply is not None
    assert reply.json == {"instances": None}
