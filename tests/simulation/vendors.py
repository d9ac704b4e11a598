"""The vendors of a simulated day: their machines, bills and faults."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any, ClassVar, Final

from pods.emulators.base import Desk, Reply, Request, SteppedClock
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_problems import Problem
from pods.emulators.runpod_state import Boot, RunPodState
from pods.emulators.vastai import VastaiEmulator
from pods.emulators.vastai_contracts import Refusal
from pods.machine_names import MachineName, fleet_tag, installation_tag, tagged
from pods.models import Pod
from pods.states import ENDED
from tests.simulation.draws import Draws
from tests.simulation.texts import odd_name, with_odd_texts

PROBLEM: Final = "application/problem+json"
OTHER_NAME: Final = "somebody-elses"
IMAGE: Final = "registry.example/worker:1.4.2"
LONGEST_DETAIL: Final = 2000
ERROR_STATUSES: Final = (500, 503, 429, 401, 404)
SLOTS: Final = 6
KEY: Final = "any-key-is-good-0123456789"
HIDDEN: Final = (40, 120, 600, 1500)  # seconds
ENDED_LISTED: Final = (0, 0, 0, 600, 7200)  # seconds for which RunPod lists what has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine that exists at a vendor."""

    id: str
    name: str
    up_since: Any  # tells one boot from the next; None: its container does not run


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A kind of request."""

    method: str
    path: str
    one: bool = False  # it names one machine


class Vendor(ABC):
    """An emulated vendor without sockets, and other people who use the same account."""

    name: ClassVar[str]
    url: ClassVar[str]
    routes: ClassVar[Sequence[Route]]

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.foreign: set[str] = set()  # machines of other people on the same account
        self.misreported: set[str] = set()  # machines about which an answer was wrong
        self._were_hidden: set[str] = set()  # in the step before
        self._once_hidden: set[str] = set()  # at any time
        self.unowned: set[str] = set()  # machines under our tag of a fleet that does not exist
        self.adopts = False  # our account there keeps machines that it finds

    @abstractmethod
    def machines(self) -> list[Machine]:
        """All machines that exist, also those of other people."""

    @abstractmethod
    def hidden(self, machine: str) -> bool:
        """Whether a machine lives although the vendor says that it is gone."""

    @abstractmethod
    def hide_next(self, seconds: float) -> None:
        """Only hide the next machine that is destroyed: it lives, and is shown again later."""

    @abstractmethod
    def billed_usd(self, machine: str) -> Decimal:
        """The USD that a machine has cost until now."""

    def end(self, machine: str) -> None:
        """End a machine, as its agent or a person in the console does."""
        if machine in self._were_hidden or self.hidden(machine) or self._believed_gone(machine):
            self.misreported.add(machine)  # nobody has seen it since, nor knows how long it billed
        self._end(machine)

    def _believed_gone(self, machine: str) -> bool:
        """Whether the vendor hid it until its pod ended, and no look has shown it since."""
        ended = Pod.objects.filter(external_id=machine, state__in=[s.value for s in ENDED])
        return machine in self._once_hidden and ended.exists()

    @abstractmethod
    def _end(self, machine: str) -> None:
        """End a machine."""

    @abstractmethod
    def rent(self, name: str, random: Random) -> str | None:
        """Rent a machine with this name, not through the manager; None if none is for rent."""

    @abstractmethod
    def error_reply(self, status: int, detail: str = "x") -> Reply:
        """An error answer."""

    @abstractmethod
    def _break_machine(self, machine: Machine, draws: Draws) -> None:
        """Cause a fault of one of our machines, if the draw says so."""

    @abstractmethod
    def change_market(self, draws: Draws) -> None:
        """Change stock, prices and rivals, if the draw says so."""

    @abstractmethod
    def restock(self) -> None:
        """Put enough machines up for rent again."""

    def cause_faults(self, draws: Draws, slug: str, fleets: Sequence[int]) -> None:
        """Cause the faults of one step; `fleets`: the ids of the fleets."""
        self._break_answers(draws)
        kept = self.foreign | (self.unowned if self.adopts else set())
        # Nobody can do anything to a machine that the vendor does not show.
        mine = [m for m in self.machines() if m.id not in kept and not self.hidden(m.id)]
        for machine in mine:
            self._break_machine(machine, draws)
        self._were_hidden = {m.id for m in self.machines() if self.hidden(m.id)}
        self._once_hidden |= self._were_hidden
        if mine and (own := draws.occurs(0.01, f"{self.name}: a machine is started under our tag")):
            tag = fleet_tag(slug, own.choice(fleets))
            self.rent(tagged(tag, f"{own.getrandbits(128):032x}"), own)
        if own := draws.occurs(0.006, f"{self.name}: a machine is started under an odd name"):
            self._rent_oddly(slug, fleets, own)
        if not self.foreign and (made := self.rent(OTHER_NAME, draws.random)):
            self.foreign.add(made)
        if own := draws.occurs(0.006, f"{self.name} hides the next machine that it destroys"):
            self.hide_next(own.choice(HIDDEN))
        self.change_market(draws)

    def _rent_oddly(self, slug: str, fleets: Sequence[int], random: Random) -> None:
        name = odd_name(installation_tag(slug), random.choice(fleets), random)
        made = self.rent(name, random)
        found = MachineName.parse(name)
        if made and (found is None or found.fleet_id not in fleets):
            self.unowned.add(made)

    def stop_faults(self) -> None:
        """Answer correctly from now on; people end the machines that the manager must keep."""
        self.desk.faults.clear()
        self.hide_next(0)
        if self.adopts:
            for machine in self.unowned & {m.id for m in self.machines()}:
                self.end(machine)
            self.unowned.clear()

    def _break_answers(self, draws: Draws) -> None:
        faults = self.desk.faults
        for route in self.routes:
            words = f"{self.name}: {route.method} {route.path}"
            if draws.occurs(0.006, f"{words} loses its answer"):
                faults.lose_answer(route.method, route.path)
            if draws.occurs(0.006, f"{words} loses its request"):
                faults.lose_request(route.method, route.path)
            if own := draws.occurs(0.012, f"{words} answers an error"):
                self._answer_error(route, own)
            if own := draws.occurs(0.004, f"{words} answers odd texts"):
                faults.edit(route.method, route.path, partial(_with_odd_texts, random=own))

    def _answer_error(self, route: Route, random: Random) -> None:
        known = ERROR_STATUSES if route.one else ERROR_STATUSES[:-1]
        status = random.choice(known)
        if status == 404 and route.method == "GET":
            self.misreported |= {m.id for m in self.machines()}
        after = route.method != "GET" and status >= 500
        said = f"x {KEY}" if random.random() < 0.3 else "x"  # some vendors repeat what they got

        def reply(request: Request, _: Reply | None) -> Reply:
            return self.error_reply(status, f"{said} {_environment(request)}"[:LONGEST_DETAIL])

        self.desk.faults.add(route.method, route.path, reply, after=after)


def _with_odd_texts(reply: Reply, random: Random) -> Reply:
    raw = reply.body()
    return replace(reply, json=with_odd_texts(json.loads(raw), random)) if raw else reply


def _environment(request: Request) -> str:
    """The environment of the machine that a create asks for, which holds its password for Redis."""
    try:
        return json.dumps(request.json().get("env", {}))
    except (ValueError, AttributeError):
        return ""


class RunPod(Vendor):
    """RunPod, with pods of the community and the secure cloud."""

    name = "runpod"
    url = "http://127.0.0.1:1"
    routes = (
        Route(method="POST", path="/v2/pods"),
        Route(method="GET", path="/v2/pods"),
        Route(method="GET", path=r"/v2/pods/[^/]+", one=True),
        Route(method="DELETE", path=r"/v2/pods/[^/]+", one=True),
    )

    def __init__(self, clock: SteppedClock, draws: Draws) -> None:
        self.state = RunPodState(
            clock=clock,
            seed=draws.seed,
            boot=Boot(provisioning=5, starting=5, pulling=5),
            balance_usd=Decimal(5000),
            list_lag=draws.random.choice([0, 0, 20]),
            get_lag=draws.random.choice([0, 0, 20]),
            page_size=draws.random.choice([None, 3]),
            linger=draws.random.choice(ENDED_LISTED),
            shows_ended=draws.random.random() < 0.5,
        )
        self._clock = clock
        super().__init__(Desk(RunPodEmulator(self.state)))

    def machines(self) -> list[Machine]:
        now = self._clock()
        return [
            Machine(id=p.id, name=str(p.request["name"]), up_since=p.up_since(now))
            for p in self.state.living()
        ]

    def hidden(self, machine: str) -> bool:
        pod = self.state.pods.get(machine)
        if pod is None:
            return False
        born = pod.created_at + timedelta(seconds=self.state.get_lag)
        return pod.known_from > max(born, self._clock())

    def hide_next(self, seconds: float) -> None:
        self.state.hides = seconds

    def billed_usd(self, machine: str) -> Decimal:
        return self.state.bill.total(machine, now=self._clock())

    def _end(self, machine: str) -> None:
        self.state.vanish(machine)

    def rent(self, name: str, random: Random) -> str | None:
        gpu = {"id": "NVIDIA GeForce RTX 4090", "count": 1}
        request = {"name": name, "image": IMAGE, "cloud": "COMMUNITY", "gpu": gpu}
        try:
            return self.state.create(request).id
        except Problem:
            return None

    def error_reply(self, status: int, detail: str = "x") -> Reply:
        body = {"title": "x", "status": status, "detail": detail}
        return Reply(status=status, json=body, content_type=PROBLEM)

    def _break_machine(self, machine: Machine, draws: Draws) -> None:
        if draws.occurs(0.006, f"{machine.id} is deleted in the console"):
            self.end(machine.id)
        elif draws.occurs(0.005, f"{machine.id} fails"):
            self.state.fail(machine.id)
        elif draws.occurs(0.004, f"{machine.id} stands still in its boot"):
            self.state.pods[machine.id].stuck = True
        elif draws.occurs(0.004, f"{machine.id} restarts by itself"):
            self.state.pods[machine.id].boot_at = self._clock()
        elif draws.occurs(0.004, f"{machine.id} is stopped in the console"):
            with suppress(Problem):  # not while it boots
                self.state.act(machine.id, "stop")

    def restock(self) -> None:
        for gpu in self.state.catalog:
            for place in gpu.stock:
                gpu.stock[place] = 8

    def change_market(self, draws: Draws) -> None:
        if own := draws.occurs(0.01, "RunPod's stock changes"):
            gpu = own.choice(self.state.catalog)
            for place in gpu.stock:
                gpu.stock[place] = own.choice([0, 1, 4, 8])


class Vastai(Vendor):
    """Vast.ai, with hosts that rivals bid for."""

    name = "vastai"
    url = "http://127.0.0.1:2"
    one = r"/api/v0/instances/\d+/?"
    routes = (
        Route(method="PUT", path=r"/api/v0/asks/\d+/"),
        Route(method="GET", path="/api/v1/instances/"),
        Route(method="GET", path=one, one=True),
        Route(method="DELETE", path=one, one=True),
    )

    def __init__(self, clock: SteppedClock, draws: Draws) -> None:
        self.emulator = VastaiEmulator(clock=clock, limits={}, credit=Decimal(5000))
        self.market = self.emulator.market
        for number in range(SLOTS):
            self.market.add_slot(usd=str(Decimal("0.3") + Decimal(number) / 100))
        self._clock = clock
        super().__init__(Desk(self.emulator))

    def machines(self) -> list[Machine]:
        self.market.settle()
        return [
            Machine(
                id=str(c.id),
                name=c.label,
                up_since=c.generation if (c.actual, c.current) == ("running", "running") else None,
            )
            for c in self.market.contracts.values()
            if c.destroyed_at is None
        ]

    def hidden(self, machine: str) -> bool:
        found = self.market.contracts.get(int(machine))
        return found is not None and found.is_hidden(self._clock())

    def hide_next(self, seconds: float) -> None:
        self.emulator.quirks.hides = seconds

    def billed_usd(self, machine: str) -> Decimal:
        self.market.settle()
        return self.market.bill.total(machine, now=self.market.now())

    def _end(self, machine: str) -> None:
        self.market.destroy(self.market.contracts[int(machine)])

    def rent(self, name: str, random: Random) -> str | None:
        slot = next(self.market.offered(), None)
        if slot is None:
            return None
        facts: dict[str, Any] = {"label": name, "image": IMAGE, "args": [], "env": {}}
        try:
            made = self.market.rent(slot, bid=None, cancel=True, disk=Decimal(40), **facts)
        except Refusal:
            return None
        return str(made.id)

    def error_reply(self, status: int, detail: str = "x") -> Reply:
        body = {"success": False, "error": "trouble", "msg": detail}
        return Reply(status=status, text=json.dumps(body))

    def stop_faults(self) -> None:
        super().stop_faults()
        self.emulator.quirks.errors_create = 0
        self.emulator.quirks.defects.clear()
        self.emulator.quirks.keeps_destroyed = False

    def _break_machine(self, machine: Machine, draws: Draws) -> None:
        contract = self.market.contracts[int(machine.id)]
        if draws.occurs(0.005, f"{machine.id} is deleted in the console"):
            self.end(machine.id)
        elif draws.occurs(0.005, f"the process of {machine.id} ends"):
            self.market.exits(contract)
        elif draws.occurs(0.004, f"the host of {machine.id} is cut off"):
            self.market.goes_offline(contract)
        elif contract.actual == "offline" and draws.random.random() < 0.2:
            self.market.comes_online(contract)
        elif draws.occurs(0.004, f"{machine.id} is stopped in the console"):
            self.market.stop(contract)

    def restock(self) -> None:
        for slot in self.market.slots:
            self.market.rival_leaves(slot)

    def change_market(self, draws: Draws) -> None:
        quirks, slots = self.emulator.quirks, self.market.slots
        if own := draws.occurs(0.02, "a rival outbids on Vast.ai"):
            self.market.rival_bids(own.choice(slots), Decimal(9))
        if own := draws.occurs(0.01, "a rival leaves Vast.ai"):
            self.market.rival_leaves(own.choice(slots))
        if draws.occurs(0.01, "a create on Vast.ai fails and bills"):
            quirks.errors_create += 1
        if own := draws.occurs(0.01, "a boot on Vast.ai is defective"):
            quirks.defects.append(own.choice(["stuck", "pull", "oci"]))
        if draws.occurs(0.006, "Vast.ai says that it destroys, and does not"):
            quirks.keeps_destroyed = True
            self.misreported |= {m.id for m in self.machines()}
        elif quirks.keeps_destroyed and draws.random.random() < 0.3:
            quirks.keeps_destroyed = False
