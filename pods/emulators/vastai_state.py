"""Vast.ai's market as a state machine: hosts, offers, contracts, bids, time, the bill. No I/O."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from pods.emulators.base import Backing, Clock
from pods.emulators.bill import Bill, cost
from pods.emulators.registries import PrivateImages
from pods.emulators.vastai_contracts import Contract, Pace, Refusal, Slot, gone_410

HOUR: Final = Decimal(3600)
DELETED_AFTER_END: Final = timedelta(hours=48)
FIRST_ID: Final = 28_471_022
NEVER: Final = timedelta(days=36_500)


class Market:
    """Everything that an account at Vast.ai can see and change, at the time of the clock.

    Each public method first does everything that is due, in order, so that the clock may jump.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        pace: Pace | None = None,
        credit: Decimal = Decimal(100),
        backing: Backing | None = None,
        first_id: int = FIRST_ID,
    ) -> None:
        self.clock, self.pace, self.backing = clock, pace or Pace(), backing
        self.credit = credit
        self.slots: list[Slot] = []
        self.contracts: dict[int, Contract] = {}  # those with a row
        self.private = PrivateImages()
        self.broke = False
        self.bill = Bill()
        self._now = clock()
        self._spent, self._rate, self._spent_until = Decimal(0), Decimal(0), self._now
        self._ids = itertools.count(first_id, 7)
        self._order = itertools.count()
        self._plans: list[tuple[datetime, int, Callable[[], None]]] = []

    # The offers of the market, and what other renters do.

    def add_slot(self, *, gpu_name: str = "RTX 4090", usd: str = "0.345", **more: Any) -> Slot:
        """List a slice of a new machine."""
        self.settle()
        more.setdefault("ends_at", self._now + timedelta(days=22))
        more.setdefault("min_bid", (Decimal(usd) * Decimal("0.6")).quantize(Decimal("0.001")))
        slot = Slot(
            ask_id=next(self._ids),
            machine_id=next(self._ids) % 100_000,
            host_id=next(self._ids) % 90_000,
            gpu_name=gpu_name,
            gpu_usd=Decimal(usd),
            **more,
        )
        self.slots.append(slot)
        self._plan(slot.ends_at - self._now, partial(self._end_contracts, slot))
        return slot

    def offered(self) -> Iterator[Slot]:
        """The slots that can be rented now, on demand or at a bid above the highest one."""
        self.settle()
        for slot in self.slots:
            free = slot.listed and not slot.rented_out and slot.ends_at > self._now
            if free and self.holder(slot) is None:
                yield slot

    def holder(self, slot: Slot) -> Contract | None:
        """Our contract that has the slot's GPU."""
        return next((c for c in slot.contracts if c.holds), None)

    def rival_rents(self, slot: Slot, *, for_: timedelta = NEVER) -> None:
        """Somebody else rents the slot on demand, unless we have it on demand. Our bids are paused."""
        self.settle()
        slot.rented_out = True
        self._arbitrate(slot)
        self._plan(for_, partial(self._rival_leaves, slot))

    def rival_bids(self, slot: Slot, usd: Decimal, *, for_: timedelta = NEVER) -> None:
        """Somebody else bids `usd`. Our lower bid is paused until it wins again."""
        self.settle()
        slot.rival_bid = usd
        self._arbitrate(slot)
        self._plan(for_, partial(self._rival_leaves, slot))

    def rival_leaves(self, slot: Slot) -> None:
        """The other renter of the slot gives it up."""
        self.settle()
        self._rival_leaves(slot)

    def _rival_leaves(self, slot: Slot) -> None:
        slot.rented_out, slot.rival_bid = False, Decimal(0)
        self._arbitrate(slot)

    # The requests of a renter.

    def rent(self, slot: Slot, *, bid: Decimal | None, cancel: bool, **facts: Any) -> Contract:
        """Accept the slot's offer. This uses up the offer's id.

        Raises:
            Refusal: there is no credit, or the GPU is taken and `cancel` is set.
        """
        self.settle()
        if self.broke:
            raise Refusal(400, "insufficient_credit", "Your account lacks credit")
        ask_id, slot.ask_id = slot.ask_id, next(self._ids)
        # A winning bid takes the slot from a lower one. On demand is above every bid.
        holder = self.holder(slot)
        taken = slot.rented_out or (holder is not None and holder.bid is None)
        if taken and cancel:
            raise gone_410(ask_id)
        number = next(self._ids)
        contract = Contract(
            id=number,
            slot=slot,
            bid=bid,
            gpu_usd=slot.gpu_usd if bid is None else bid,
            created_at=self._now,
            key=f"instance-key-{number}",
            **facts,
        )
        if contract.bid is not None and contract.bid < slot.price_to_beat():
            # The contract is made, but stopped. It starts, and bills, as soon as its bid wins.
            contract.intended = contract.following = "stopped"
        self.contracts[number] = contract
        slot.contracts.append(contract)
        self._bill(contract)
        self._arbitrate(slot)
        return contract

    def rebid(self, contract: Contract, bid: Decimal) -> None:
        """Change the bid of an interruptible contract."""
        self.settle()
        contract.bid = contract.gpu_usd = bid
        self._bill(contract)
        self._arbitrate(contract.slot)

    def start(self, contract: Contract) -> bool:
        """Ask for the GPU again. False where the request is only queued."""
        self.settle()
        if self.broke:
            raise Refusal(400, "missing_billing", "Your account lacks credit")
        runs = contract.wants and contract.holds and contract.actual != "exited"
        contract.wants = True
        if contract.holds:
            if not runs:
                self._boot(contract)
            return True
        contract.intended, contract.following = "running", "running"
        self._arbitrate(contract.slot)
        return contract.holds

    def stop(self, contract: Contract) -> None:
        """Stop it. Its disk stays, and bills."""
        self.settle()
        self._halt(contract)

    def destroy(self, contract: Contract) -> None:
        """Destroy it. Its row stays for a while."""
        self.settle()
        if contract.destroyed_at is not None:
            return
        self._stop_backing(contract)
        contract.generation += 1
        contract.wants = contract.holds = False
        contract.destroyed_at = self._now
        self._show(contract, intended="stopped", current="unloaded", following="unloaded")
        self._arbitrate(contract.slot)
        self._later(contract, self.pace.leaving, partial(self._vanish, contract))

    # What happens to a contract without a request.

    def exits(self, contract: Contract) -> None:
        """Its process ends."""
        self.settle()
        self._stop_backing(contract)
        self._show(contract, actual="exited")

    def goes_offline(self, contract: Contract) -> None:
        """Its host is cut off."""
        self.settle()
        contract.before_offline = contract.actual
        self._show(contract, actual="offline")

    def comes_online(self, contract: Contract) -> None:
        """Its host is back."""
        self.settle()
        self._show(contract, actual=contract.before_offline)

    def top_up(self, usd: Decimal) -> None:
        """Add credit. This does not start anything."""
        self.settle()
        self.credit += usd
        self.broke = self.credit_left() <= 0

    # Time.

    def settle(self) -> None:
        """Do everything that is due, in order, and start and stop the backing processes."""
        until = max(self.clock(), self._now)
        while True:
            planned = self._plans[0][0] if self._plans else None
            broke_at = self._broke_at()
            due = min(
                (t for t in (planned, broke_at) if t is not None and t <= until), default=None
            )
            if due is None:
                break
            self._now = max(self._now, due)
            if broke_at is not None and broke_at == due:
                self._run_out_of_credit()
            else:
                heapq.heappop(self._plans)[2]()
        self._now = until
        self._watch_backing()

    def now(self) -> datetime:
        """The time that the market has reached."""
        return self._now

    def _plan(self, wait: timedelta, act: Callable[[], None]) -> None:
        if wait < NEVER:
            heapq.heappush(self._plans, (self._now + wait, next(self._order), act))

    def _later(self, contract: Contract, wait: timedelta, act: Callable[[], None]) -> None:
        """Plan a step of a contract. It only happens if nothing else happened before."""
        generation = contract.generation

        def step() -> None:
            if contract.generation == generation and not contract.gone:
                act()

        self._plan(wait, step)

    # The steps of a contract.

    def _arbitrate(self, slot: Slot) -> None:
        """Give the GPU to the right contract: on demand first, then the highest bid that wins."""
        wanting = [c for c in slot.contracts if c.wants and slot.ends_at > self._now]
        on_demand = [c for c in wanting if c.bid is None]
        bids = sorted(
            (c for c in wanting if c.bid is not None and c.bid >= slot.price_to_beat()),
            key=lambda c: (-(c.bid or 0), c.id),
        )
        held = next((c for c in on_demand if c.holds), None)
        due = held or (None if slot.rented_out else next(iter([*on_demand, *bids]), None))
        for contract in slot.contracts:
            if contract.holds and contract is not due and contract.wants:
                self._pause(contract)
        if due is not None and not due.holds and not any(c.holds for c in slot.contracts):
            due.holds = True
            self._boot(due)

    def _boot(self, contract: Contract) -> None:
        contract.generation += 1
        first, contract.booted = not contract.booted, True
        self._show(
            contract,
            intended="running",
            current="running",
            following="running",
            actual=None if first else "loading",
        )
        contract.status_msg = None
        wait = self.pace.provisioning if first else timedelta(0)
        self._later(contract, wait, partial(self._load, contract))

    def _load(self, contract: Contract) -> None:
        contract.status_msg = "pulling image"
        self._show(contract, actual="loading")
        if contract.defect == "pull" or not self.private.gives(contract.image, contract.login):
            contract.status_msg = (
                "Error: pull access denied for the image, repository may not exist"
            )
            return
        if contract.defect == "stuck":
            return
        self._later(contract, self.pace.loading, partial(self._create_container, contract))

    def _create_container(self, contract: Contract) -> None:
        self._show(contract, actual="created")
        if contract.defect == "oci":
            contract.status_msg = (
                "Error response from daemon: OCI runtime create failed: exec not found"
            )
            return
        self._later(contract, self.pace.creating, partial(self._run, contract))

    def _run(self, contract: Contract) -> None:
        contract.status_msg = f"success, running {contract.image}"
        self._show(contract, actual="running")
        if self.backing is not None:
            self.backing.start(str(contract.id), self._container_env(contract), contract.args)

    def _container_env(self, contract: Contract) -> dict[str, str]:
        """The environment in the container: ours, and what Vast.ai adds (vastai.md §10)."""
        ours = {k: v for k, v in contract.env.items() if not k.startswith("-")}
        return {
            **ours,
            "CONTAINER_ID": str(contract.id),
            "VAST_CONTAINERLABEL": f"C.{contract.id}",
            "CONTAINER_API_KEY": contract.key,
            "GPU_COUNT": str(contract.slot.num_gpus),
        }

    def _halt(self, contract: Contract) -> None:
        contract.wants = False
        contract.generation += 1
        if not contract.holds:
            self._show(contract, intended="stopped", current="stopped", following="stopped")
            return
        self._stop_backing(contract)
        self._show(contract, intended="stopped", current="running", following="stopped")
        self._later(contract, self.pace.stopping, partial(self._halted, contract))

    def _halted(self, contract: Contract) -> None:
        contract.holds = False
        self._show(contract, current="stopped", actual="exited")
        self._arbitrate(contract.slot)

    def _pause(self, contract: Contract) -> None:
        """Stop an outbid contract and keep its disk. It starts by itself when its bid wins again."""
        contract.holds = False
        contract.generation += 1
        self._stop_backing(contract)
        self._show(
            contract, intended="stopped", current="stopped", following="stopped", actual="exited"
        )

    def _end_contracts(self, slot: Slot) -> None:
        for contract in [c for c in slot.contracts if c.destroyed_at is None]:
            self._halt(contract)
            self._later(contract, DELETED_AFTER_END, partial(self._vanish, contract))

    def _vanish(self, contract: Contract) -> None:
        self._stop_backing(contract)
        contract.gone = True
        self._bill(contract)
        contract.slot.contracts.remove(contract)
        del self.contracts[contract.id]

    def _show(self, contract: Contract, **fields: str | None) -> None:
        for name, value in fields.items():
            setattr(contract, name, value)
        self._bill(contract)

    def _stop_backing(self, contract: Contract) -> None:
        if self.backing is not None:
            self.backing.stop(str(contract.id))

    def _watch_backing(self) -> None:
        if self.backing is None:
            return
        for contract in self.contracts.values():
            runs = contract.actual == "running" and contract.current == "running"
            if runs and not self.backing.running(str(contract.id)):
                self._show(contract, actual="exited")

    # Money.

    def spent(self) -> Decimal:
        """USD that everything has cost, up to the market's time."""
        return self._spent + cost(self._rate, self._now - self._spent_until)

    def credit_left(self) -> Decimal:
        """USD of credit that are left."""
        return self.credit - self.spent()

    def _bill(self, contract: Contract) -> None:
        """Bill the contract by its present state from now on."""
        self._spent, self._spent_until = self.spent(), self._now
        self._rate += contract.rate_now() - contract.rate
        contract.rate = contract.rate_now()
        self.bill.set_rate(str(contract.id), contract.rate, now=self._now)

    def _broke_at(self) -> datetime | None:
        if self.broke or self._rate <= 0:
            return None
        left = max(self.credit_left(), Decimal(0)) * HOUR / self._rate
        if left > NEVER.total_seconds():
            return None
        return self._now + timedelta(seconds=float(left))

    def _run_out_of_credit(self) -> None:
        """Stop everything without credit. Nothing is destroyed, and the disks still bill."""
        self.broke = True
        for contract in self.contracts.values():
            if contract.destroyed_at is None:
                self._halt(contract)
