"""When the manager is gone for good, a pod's agent ends its machine through the vendor's API (L7)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from pods.agent.ending import Ask, end_machine, of_first_process, ways
from pods.agent.protocol import ended_by
from pods.emulators.backing import AgentProcesses
from pods.emulators.base import Server, wall_clock
from pods.emulators.runpod import POD_KEY, RunPodEmulator
from pods.emulators.runpod_state import Boot, RunPodState
from pods.emulators.vastai import VastaiEmulator
from pods.emulators.vastai_catalog import stock
from pods.providers import vastai
from pods.providers.base import Machine, OfferQuery, Provider
from pods.providers.clients import CLIENTS
from pods.providers.runpod import connect
from tests.support.rigs.vastai_rig import QUICK
from tests.support.rigs.vendor_agents import spec
from tests.support.waiting import until

TAG = "pf-alone"
ALONE = {"fleet": "alone", "handler": "pods.agent.handlers.pace:sleep", "orphan_seconds": 1.0}
RUNPOD = {"RUNPOD_POD_ID": "a/b", "RUNPOD_API_KEY": "k"}
VASTAI = {"VAST_CONTAINERLABEL": "C.77", "CONTAINER_API_KEY": "k"}


def told(vendor: str) -> dict[str, str]:
    """What an adapter gives to a pod that the vendor's API ends."""
    return {"PODFLEET_POD": "pf-a-t1", **ended_by(vendor, "pf-a-t1")}


@pytest.fixture
def runpod(agents: AgentProcesses) -> RunPodEmulator:
    boot = Boot(provisioning=0.05, starting=0.05, pulling=0.05)
    return RunPodEmulator(RunPodState(clock=wall_clock(), boot=boot, backing=agents))


@pytest.fixture
def market(agents: AgentProcesses) -> VastaiEmulator:
    emulator = VastaiEmulator(clock=wall_clock(), pace=QUICK, backing=agents)
    stock(emulator.market, hosts=60)
    return emulator


@contextmanager
def serving(
    emulator: RunPodEmulator | VastaiEmulator, connect: Callable[..., Provider]
) -> Iterator[tuple[Server, Provider]]:
    """The emulator behind HTTP, and an adapter for it."""
    with Server(emulator) as server:
        yield server, connect(options={"base_url": server.url}, secret="any-key-is-good")
    CLIENTS.close()


def rent(provider: Provider, url: str, redis_url: str, token: str = "t1") -> Machine:
    client = redis.Redis.from_url(redis_url, protocol=2)
    if not client.exists("tasks"):
        client.xgroup_create("tasks", "workers", "0", mkstream=True)
    wanted = spec(
        f"{TAG}-{token}",
        redis_url,
        offer=provider.offers(OfferQuery(interruptible=False))[0].key,
        agent=ALONE,
        env={"PODFLEET_VENDOR_URL": url},
    )
    return provider.create(wanted, token=token)


@pytest.mark.fault(56)
@pytest.mark.parametrize("on_v2", [False, True])
def test_a_pod_of_runpod_ends_by_its_own_key_although_its_container_would_restart(
    runpod: RunPodEmulator, agents: AgentProcesses, redis_url: str, on_v2: bool
) -> None:
    runpod.pod_keys_on_v2 = on_v2
    with serving(runpod, connect) as (server, provider):
        machine = rent(provider, server.url, redis_url)
        until(lambda: agents.starts)
        until(lambda: provider.list_tagged(TAG) == [])
        assert agents.starts == [machine.external_id]
        assert not agents.running(machine.external_id)
        assert runpod.state.bill.hourly_usd() == 0


def test_a_vendor_that_refuses_is_asked_again_by_the_next_container(
    runpod: RunPodEmulator, agents: AgentProcesses, redis_url: str
) -> None:
    runpod.graphql_works = False
    with serving(runpod, connect) as (server, provider):
        rent(provider, server.url, redis_url)
        machine = until(lambda: agents.starts)[0]
        until(lambda: any("machine_not_ended" in line for line in agents.lines(machine)))
        assert POD_KEY not in "\n".join(agents.lines(machine))
        with server.lock:
            runpod.graphql_works = True
        until(lambda: provider.list_tagged(TAG) == [])


@pytest.mark.fault(56)
def test_an_instance_of_vastai_ends_by_its_own_key(
    market: VastaiEmulator, agents: AgentProcesses, redis_url: str
) -> None:
    with serving(market, vastai.connect) as (server, provider):
        machine = rent(provider, server.url, redis_url)
        until(lambda: agents.starts)
        until(lambda: provider.list_tagged(TAG) == [])
        assert not agents.running(machine.external_id)


def test_a_pods_key_ends_no_other_pod(
    runpod: RunPodEmulator, agents: AgentProcesses, redis_url: str
) -> None:
    runpod.pod_keys_on_v2 = True
    with serving(runpod, connect) as (server, provider):
        mine, other = (rent(provider, server.url, redis_url, t).external_id for t in ("t1", "t2"))
        environment = {
            "RUNPOD_POD_ID": other,
            "RUNPOD_API_KEY": POD_KEY + mine,
            "PODFLEET_VENDOR_URL": server.url,
            **told("runpod"),
        }
        pauses: list[float] = []
        assert not end_machine(environment, pause=pauses.append)
        assert pauses == [1.0, 5.0, 15.0, 30.0, 0.0]
        assert {other, mine} == {m.external_id for m in provider.list_tagged(TAG)}


def test_a_machine_without_its_vendors_variables_asks_for_nothing() -> None:
    pauses: list[float] = []
    environment = {"RUNPOD_POD_ID": "x", "CONTAINER_ID": "1", **told("runpod")}
    assert not end_machine(environment, pause=pauses.append)
    assert pauses == []


@pytest.mark.parametrize("vendor", [RUNPOD, VASTAI], ids=["RunPod", "Vast.ai"])
@pytest.mark.parametrize(
    "own",
    [
        {},
        {"PODFLEET_POD": "pf-a-t1"},
        {"PODFLEET_POD": "pf-a-t1", **ended_by("runpod", "pf-a-t2")},
        {"PODFLEET_POD": "pf-a-t1", **ended_by("vastai", "")},
        {"PODFLEET_POD": "pf-a-t1", **ended_by("local", "pf-a-t1")},
    ],
    ids=["not a pod", "not told", "of another pod", "of no pod", "of no vendor"],
)
def test_an_agent_on_a_rented_host_does_not_end_its_host(
    vendor: dict[str, str], own: dict[str, str]
) -> None:
    assert list(ways({**vendor, **own}, {})) == []
    # the host is itself the machine of a pod: its first process was told so
    host = {**vendor, "PODFLEET_POD": "pf-a-host", **ended_by("runpod", "pf-a-host")}
    assert list(ways(own, host)) == []


def test_the_key_is_in_no_representation_and_the_address_is_the_vendors_own() -> None:
    [ask] = ways(told("vastai"), {**VASTAI, "CONTAINER_API_KEY": "s3cret"})
    assert (ask.method, ask.url) == ("DELETE", "https://console.vast.ai/api/v0/instances/77/")
    assert "s3cret" not in repr(ask)
    asks = list(ways({**RUNPOD, **told("runpod")}, {}))
    assert [a.url for a in asks] == [
        "https://api.runpod.io/v2/pods/a%2Fb",
        "https://api.runpod.io/graphql",
    ]


def test_a_variable_that_a_shell_did_not_pass_on_is_read_from_the_first_process(
    tmp_path: Path,
) -> None:
    path = tmp_path / "environ"
    path.write_bytes(b"RUNPOD_POD_ID=p1\0A=b=c\0")
    assert of_first_process(path) == {"RUNPOD_POD_ID": "p1", "A": "b=c"}
    assert of_first_process(tmp_path / "none") == {}


def test_without_a_server_nothing_succeeds() -> None:
    assert Ask("DELETE", "http://127.0.0.1:1/", "k").send()
