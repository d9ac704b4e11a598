"""The emulated market of Vast.ai by itself, in virtual time: what runs, what waits, and the costs."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import SteppedClock
from pods.emulators.bill import cost
from pods.emulators.vastai_contracts import Contract, Pace, Refusal, Slot
from pods.emulators.vastai_state import Market

# The pace of these tests: provisioned after 2 s, loaded after 5 more, running after 1 more.
BOOT = 8.0
GPU, DISK = Decimal("0.36"), Decimal("0.01")


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def market(clock: SteppedClock) -> Market:
    return Market(clock=clock, pace=Pace())


def a_slot(market: Market, **more: Any) -> Slot:
    return market.add_slot(**{"usd": "0.36", "storage_usd": Decimal("0.18"), **more})


def rent(market: Market, slot: Slot, *, bid: str | None = None, **more: Any) -> Contract:
    facts: dict[str, Any] = {
        "label": "pf-1-a",
        "image": "i",
        "args": [],
        "env": {},
        "disk": Decimal(40),
        "cancel": True,
    }
    return market.rent(slot, bid=None if bid is None else Decimal(bid), **(facts | more))


def state(market: Market, contract: Contract) -> tuple[str, str, str | None]:
    market.settle()
    return contract.intended, contract.current, contract.actual


def billed(market: Market, contract: Contract) -> Decimal:
    market.settle()
    # To a millionth of a micro-dollar, because a third has no end.
    return round(market.bill.total(str(contract.id), now=market.now()), 12)


def test_a_boot_passes_through_its_states_and_loading_bills_its_disk_alone(
    market: Market, clock: SteppedClock
) -> None:
    contract = rent(market, a_slot(market))
    seen = []
    for _ in range(9):
        seen.append(state(market, contract)[2])
        clock.advance(1)
    assert seen == [None, None, *["loading"] * 5, "created", "running"]
    clock.advance(3591)
    assert billed(market, contract) == cost(DISK, timedelta(seconds=3600)) + cost(
        GPU, timedelta(seconds=3592)
    )


def test_the_bill_does_not_depend_on_how_often_somebody_looks() -> None:
    bills = []
    for steps in (1, 3600):
        clock = SteppedClock()
        market = Market(clock=clock)
        contract = rent(market, a_slot(market))
        for _ in range(steps):
            clock.advance(3600 / steps)
            market.settle()
        bills.append(billed(market, contract))
    assert bills[0] == bills[1]


def test_a_stopped_machine_bills_its_disk_and_a_destroyed_one_nothing(
    market: Market, clock: SteppedClock
) -> None:
    contract = rent(market, a_slot(market))
    clock.advance(BOOT)
    market.stop(contract)
    assert state(market, contract) == ("stopped", "running", "running")
    clock.advance(2)
    assert state(market, contract) == ("stopped", "stopped", "exited")
    before = billed(market, contract)
    clock.advance(3600)
    assert billed(market, contract) - before == DISK
    market.destroy(contract)
    end = billed(market, contract)
    assert state(market, contract)[1] == "unloaded"
    clock.advance(3600)
    assert billed(market, contract) == end
    assert contract.id not in market.contracts


def test_an_offer_serves_once(market: Market) -> None:
    slot = a_slot(market)
    asked = slot.ask_id
    contract = rent(market, slot)
    assert slot.ask_id != asked
    assert list(market.offered()) == []
    market.destroy(contract)
    assert list(market.offered()) == [slot]


def test_an_outbid_machine_stops_keeps_its_disk_and_comes_back_by_itself(
    market: Market, clock: SteppedClock
) -> None:
    slot = a_slot(market, min_bid=Decimal("0.2"))
    contract = rent(market, slot, bid="0.22")
    clock.advance(BOOT)
    market.rival_bids(slot, Decimal("0.3"), for_=timedelta(hours=2))
    assert state(market, contract) == ("stopped", "stopped", "exited")
    before = billed(market, contract)
    clock.advance(3600)
    assert billed(market, contract) - before == DISK
    clock.advance(3600 + BOOT)
    assert state(market, contract) == ("running", "running", "running")


def test_a_higher_bid_wins_the_gpu_back(market: Market, clock: SteppedClock) -> None:
    slot = a_slot(market, min_bid=Decimal("0.2"))
    contract = rent(market, slot, bid="0.22")
    market.rival_bids(slot, Decimal("0.3"))
    market.rebid(contract, Decimal("0.31"))
    clock.advance(BOOT)
    assert state(market, contract)[2] == "running"


def test_on_demand_is_above_every_bid(market: Market, clock: SteppedClock) -> None:
    slot = a_slot(market, min_bid=Decimal("0.2"))
    low = rent(market, slot, bid="9")
    clock.advance(BOOT)
    full = rent(market, slot)
    clock.advance(BOOT)
    assert state(market, low) == ("stopped", "stopped", "exited")
    assert state(market, full)[2] == "running"


def test_a_start_without_a_free_gpu_is_queued_and_runs_and_bills_later(
    market: Market, clock: SteppedClock
) -> None:
    slot = a_slot(market)
    contract = rent(market, slot)
    clock.advance(BOOT)
    market.stop(contract)
    clock.advance(2)
    market.rival_rents(slot, for_=timedelta(hours=1))
    assert not market.start(contract)
    assert state(market, contract) == ("running", "stopped", "exited")
    clock.advance(3600 + BOOT)
    assert state(market, contract)[2] == "running"


def test_a_queued_start_can_be_taken_back(market: Market, clock: SteppedClock) -> None:
    slot = a_slot(market)
    contract = rent(market, slot)
    market.stop(contract)
    clock.advance(2)
    market.rival_rents(slot, for_=timedelta(hours=1))
    market.start(contract)
    market.stop(contract)
    clock.advance(2 * 3600)
    assert state(market, contract)[:2] == ("stopped", "stopped")


def test_a_bid_too_low_makes_a_stopped_contract_that_runs_once_it_wins(
    market: Market, clock: SteppedClock
) -> None:
    slot = a_slot(market, min_bid=Decimal("0.2"))
    market.rival_bids(slot, Decimal("0.3"), for_=timedelta(hours=1))
    contract = rent(market, slot, bid="0.25")
    assert state(market, contract) == ("stopped", "stopped", None)
    clock.advance(3600 + BOOT)
    assert state(market, contract)[2] == "running"


def test_a_taken_gpu_refuses_an_accept_that_will_not_wait(market: Market) -> None:
    slot = a_slot(market)
    market.rival_rents(slot)
    with pytest.raises(Refusal):
        rent(market, slot)
    assert not market.contracts
    waiting = rent(market, market.slots[0], cancel=False)
    assert state(market, waiting) == ("running", "stopped", None)


def test_a_contract_ends_with_its_offer_and_is_deleted_two_days_later(
    market: Market, clock: SteppedClock
) -> None:
    slot = a_slot(market, ends_at=clock.now + timedelta(hours=1))
    contract = rent(market, slot)
    clock.advance(3602)
    assert state(market, contract)[:2] == ("stopped", "stopped")
    assert not market.start(contract)
    clock.advance(48 * 3600)
    assert state(market, contract)[0] == "running"  # the request stays queued, and is never granted
    market.stop(contract)
    assert list(market.offered()) == []


def test_everything_stops_at_the_moment_when_the_credit_is_used_up(clock: SteppedClock) -> None:
    market = Market(clock=clock, credit=DISK + GPU)
    contracts = [rent(market, a_slot(market)) for _ in range(2)]
    clock.advance(24 * 3600)
    assert {state(market, c)[:2] for c in contracts} == {("stopped", "stopped")}
    # An hour of one machine is half an hour of two. After that only the disks are billed.
    spent = round(market.spent(), 12)
    assert spent == sum((billed(market, c) for c in contracts), Decimal(0))
    assert GPU + DISK < spent < GPU + DISK + 2 * 24 * DISK
    with pytest.raises(Refusal):
        market.start(contracts[0])
    market.top_up(Decimal(10))
    assert market.start(contracts[0])


def test_an_offline_host_bills_nothing_until_it_is_back(
    market: Market, clock: SteppedClock
) -> None:
    contract = rent(market, a_slot(market))
    clock.advance(BOOT)
    market.goes_offline(contract)
    before = billed(market, contract)
    clock.advance(3600)
    assert billed(market, contract) == before
    market.comes_online(contract)
    assert state(market, contract)[2] == "running"


@pytest.mark.parametrize(
    ("defect", "actual"), [("stuck", "loading"), ("pull", "loading"), ("oci", "created")]
)
def test_a_defect_boot_never_ends(
    market: Market, clock: SteppedClock, defect: str, actual: str
) -> None:
    contract = rent(market, a_slot(market), defect=defect)
    clock.advance(48 * 3600)
    assert state(market, contract)[2] == actual


def test_a_destroy_in_the_middle_of_a_boot_ends_it(market: Market, clock: SteppedClock) -> None:
    contract = rent(market, a_slot(market))
    clock.advance(3)
    market.destroy(contract)
    clock.advance(4)
    assert state(market, contract)[1:] == ("unloaded", "loading")
    clock.advance(4)
    market.settle()
    assert not market.contracts
