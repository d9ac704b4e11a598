"""Real agents on emulated machines of Vast.ai drain a real backlog."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.backing import AgentProcesses
from pods.emulators.base import Server, wall_clock
from pods.emulators.vastai import VastaiEmulator
from pods.emulators.vastai_catalog import stock
from pods.providers import vastai
from pods.providers.base import Machine, OfferQuery, Phase, Provider
from pods.providers.clients import CLIENTS
from tests.support.rigs.vastai_rig import QUICK
from tests.support.rigs.vendor_agents import TAG, results, spec, until
from tests.support.vastai_checks import OwnSchemas, VendorSpec, vendor_files

BIDS, ON_DEMAND = OfferQuery(interruptible=True), OfferQuery(interruptible=False)


@pytest.fixture
def emulator(agents: AgentProcesses) -> VastaiEmulator:
    emulator = VastaiEmulator(clock=wall_clock(), pace=QUICK, backing=agents)
    stock(emulator.market, hosts=60)
    return emulator


@pytest.fixture
def server(emulator: VastaiEmulator) -> Iterator[Server]:
    with Server(emulator) as server:
        server.checks.append(OwnSchemas())
        if (folder := vendor_files()) is not None:
            server.checks.append(VendorSpec(folder))
        yield server
    CLIENTS.close()
    assert server.complaints == []


@pytest.fixture
def provider(server: Server) -> Provider:
    return vastai.connect(options={"base_url": server.url}, secret="any-key-is-good")


def rent(provider: Provider, redis_url: str, token: str, query: OfferQuery) -> Machine:
    offer = provider.offers(query)[0]
    wanted = spec(f"{TAG}-{token}", redis_url, offer=offer.key, interruptible=offer.interruptible)
    return provider.create(wanted, token=token)


@pytest.mark.fault(22)
@pytest.mark.fault(23)
def test_a_backlog_is_drained_although_two_machines_are_outbid_and_one_comes_back(
    provider: Provider,
    server: Server,
    emulator: VastaiEmulator,
    agents: AgentProcesses,
    backlog: Any,
    redis_url: str,
) -> None:
    entries = [backlog.xadd("tasks", {"payload": "0.05"}).decode() for _ in range(400)]
    cheap = [rent(provider, redis_url, f"bid{n}", BIDS) for n in range(2)]
    full = rent(provider, redis_url, "full", ON_DEMAND)
    until(lambda: len(results(backlog)) > 30)
    market = emulator.market
    with server.lock:
        outbid = [market.contracts[int(m.external_id)] for m in cheap]
        for contract in outbid:
            market.rival_bids(contract.slot, Decimal(100))
    assert [provider.status(m.external_id).phase for m in cheap] == [Phase.STOPPED] * 2
    assert not any(agents.running(m.external_id) for m in cheap)
    assert provider.status(full.external_id).phase is Phase.RUNNING
    with server.lock:
        market.rival_leaves(outbid[0].slot)
    until(lambda: provider.status(cheap[0].external_id).phase is Phase.RUNNING)
    until(lambda: set(results(backlog)) == set(entries))
    assert agents.starts.count(cheap[0].external_id) == 2
    until(lambda: backlog.xpending("tasks", "workers")["pending"] == 0)
    machines = [*cheap, full]
    for machine in machines:
        provider.destroy(machine.external_id)
    until(lambda: provider.list_tagged(TAG) == [])
    assert not any(agents.running(m.external_id) for m in machines)
    assert set(market.bill.machines()) == {m.external_id for m in machines}
    assert market.bill.hourly_usd() == 0


def test_the_output_of_an_agent_is_the_log_of_its_machine(
    provider: Provider, backlog: Any, redis_url: str, emulator: VastaiEmulator
) -> None:
    emulator.quirks.log_refusals = 1
    machine = rent(provider, redis_url, "one", ON_DEMAND)
    backlog.xadd("tasks", {"payload": "0"})
    until(lambda: results(backlog))
    until(lambda: provider.status(machine.external_id).phase is Phase.RUNNING)
    assert provider.logs(machine.external_id, tail=5)


def test_an_agent_that_ends_leaves_an_exited_machine_that_bills(
    provider: Provider, agents: AgentProcesses, backlog: Any, redis_url: str
) -> None:
    machine = rent(provider, redis_url, "one", ON_DEMAND)
    until(lambda: agents.running(machine.external_id))
    agents.stop(machine.external_id)
    assert until(lambda: provider.status(machine.external_id).phase) is Phase.FAILED
