"""The emulated vendors: their machines are real agents, and a proxy stands in front of each vendor."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import psutil

from pods.emulators.backing import AgentProcesses
from pods.emulators.base import Emulator, Reply, Server, wall_clock
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_state import Boot, RunPodState
from pods.emulators.vastai import VastaiEmulator
from pods.emulators.vastai_catalog import stock
from pods.emulators.vastai_contracts import Pace
from tests.chaos.proxy import Proxy

HALF_A_SECOND: Final = timedelta(seconds=0.5)
PACE: Final = Pace(
    provisioning=HALF_A_SECOND,
    loading=HALF_A_SECOND,
    creating=HALF_A_SECOND,
    stopping=HALF_A_SECOND,
    leaving=HALF_A_SECOND,
)
HOSTS: Final = 60


class Vendor(ABC):
    """The vendor of one fleet. Each method takes the lock under which the vendor's server answers."""

    fleet: ClassVar[str]
    provider: ClassVar[str]
    title: ClassVar[str]
    create: ClassVar[tuple[str, str]]  # method and path
    options: ClassVar[Mapping[str, Any]] = {}  # the account's

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        """`ends` stops the agents, the server and the proxy that this starts."""
        self.agents = AgentProcesses(folder / self.fleet)
        ends.callback(self.agents.stop_all)
        self.server = ends.enter_context(Server(self._emulator()))
        parts = urlsplit(self.server.url)
        address = (parts.hostname or "", parts.port or 0)
        self.proxy = Proxy(lambda: address)
        ends.callback(self.proxy.close)

    @property
    def url(self) -> str:
        """The vendor's address through the proxy."""
        return f"http://127.0.0.1:{self.proxy.port}"

    def living(self) -> list[str]:
        """The ids of the machines that exist."""
        with self.server.lock:
            return self._living()

    def billed_usd(self, machine: str) -> Decimal:
        """The USD that a machine has cost until now."""
        with self.server.lock:
            return self._billed_usd(machine)

    def delete_in_console(self, machine: str) -> bool:
        """Delete a machine as in the vendor's console; return whether it existed."""
        with self.server.lock:
            if machine not in self._living():
                return False
            self._delete(machine)
            return True

    def kill_agent(self, machine: str) -> None:
        """End a machine's agent; the machine itself stays and bills."""
        with self.server.lock:
            self.agents.stop(machine)

    def processes(self, machine: str) -> list[psutil.Process]:
        """The processes of a machine's agent and of its handler."""
        pid = self.agents.pid(machine)
        try:
            agent = psutil.Process(pid) if pid else None
            return [agent, *agent.children(recursive=True)] if agent else []
        except psutil.Error:
            return []

    @abstractmethod
    def error_reply(self, status: int) -> Reply:
        """An error answer in the vendor's form."""

    @abstractmethod
    def _emulator(self) -> Emulator: ...

    @abstractmethod
    def _living(self) -> list[str]: ...

    @abstractmethod
    def _billed_usd(self, machine: str) -> Decimal: ...

    @abstractmethod
    def _delete(self, machine: str) -> None: ...


class RunPod(Vendor):
    """Pods of an emulated RunPod."""

    fleet, provider, title = "rented", "runpod", "RunPod"
    create = ("POST", "/v2/pods")
    options: ClassVar[Mapping[str, Any]] = {"requests_per_minute": 600}

    def _emulator(self) -> Emulator:
        boot = Boot(provisioning=0.5, starting=0.5, pulling=0.5)
        self._state = RunPodState(clock=wall_clock(), boot=boot, backing=self.agents)
        return RunPodEmulator(self._state)

    def error_reply(self, status: int) -> Reply:
        """An error answer as a problem document (RFC 9457)."""
        body = {"title": "x", "status": status, "detail": "x"}
        return Reply(status=status, json=body, content_type="application/problem+json")

    def _living(self) -> list[str]:
        return [pod.id for pod in self._state.living()]

    def _billed_usd(self, machine: str) -> Decimal:
        return self._state.bill.total(machine, now=self._state.clock())

    def _delete(self, machine: str) -> None:
        self._state.vanish(machine)


class Vastai(Vendor):
    """Instances of an emulated Vast.ai; the fleet bids for them where that is cheaper."""

    fleet, provider, title = "bid", "vastai", "Vast.ai"
    create = ("PUT", r"/api/v0/asks/\d+/")

    def _emulator(self) -> Emulator:
        emulator = VastaiEmulator(clock=wall_clock(), pace=PACE, backing=self.agents)
        self._market = emulator.market
        stock(self._market, hosts=HOSTS)
        return emulator

    def error_reply(self, status: int) -> Reply:
        """An error answer with Vast.ai's fields."""
        body = {"success": False, "error": "trouble", "msg": "x"}
        return Reply(status=status, text=json.dumps(body), content_type="application/json")

    def outbid(self) -> bool:
        """Let a rival outbid one of our machines; return whether there was one."""
        with self.server.lock:
            for contract in self._market.contracts.values():
                if contract.destroyed_at is None and contract.bid is not None:
                    self._market.rival_bids(contract.slot, Decimal(9))
                    return True
        return False

    def rivals_leave(self) -> None:
        """Let every rival leave: all slots are for rent again."""
        with self.server.lock:
            for slot in self._market.slots:
                self._market.rival_leaves(slot)

    def _living(self) -> list[str]:
        self._market.settle()
        found = self._market.contracts.values()
        return [str(c.id) for c in found if c.destroyed_at is None]

    def _billed_usd(self, machine: str) -> Decimal:
        self._market.settle()
        return self._market.bill.total(machine, now=self._market.now())

    def _delete(self, machine: str) -> None:
        self._market.destroy(self._market.contracts[int(machine)])
