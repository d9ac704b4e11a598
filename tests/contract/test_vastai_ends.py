"""The end of machines at Vast.ai, their stops and starts, and the rate limits."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from pods.emulators.base import Reply
from pods.emulators.vastai import VENDOR_LIMITS
from pods.providers.base import Phase
from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    Refused,
    Unavailable,
)
from pods.providers.vastai import Vastai
from tests.support.rigs.vastai_rig import A_WHILE, BIDS, ON_DEMAND, TAG, Rig, vast

ONE = r"/api/v0/instances/\d+/"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with vast() as rig:
        yield rig


# Stop and start.


def test_a_stopped_machine_keeps_its_disk_and_starts_again(rig: Rig) -> None:
    machine = rig.running()
    rig.provider.stop(machine.external_id)
    assert rig.provider.status(machine.external_id).phase is Phase.STOPPING
    rig.clock.advance(A_WHILE)
    assert rig.provider.status(machine.external_id).phase is Phase.STOPPED
    rig.provider.start(machine.external_id)
    assert rig.provider.status(machine.external_id).phase is Phase.BOOTING
    rig.clock.advance(A_WHILE)
    assert rig.provider.status(machine.external_id).phase is Phase.RUNNING


def stopped_and_taken(rig: Rig) -> str:
    """A stopped machine whose GPU somebody else has for an hour."""
    machine = rig.running()
    rig.provider.stop(machine.external_id)
    rig.clock.advance(A_WHILE)
    slot = rig.contract(machine).slot
    rig.emulator.market.rival_rents(slot, for_=timedelta(hours=1))
    return machine.external_id


@pytest.mark.fault(24)
def test_a_start_that_would_only_queue_is_no_capacity_and_never_runs_later(rig: Rig) -> None:
    external_id = stopped_and_taken(rig)
    with pytest.raises(NoCapacity):
        rig.provider.start(external_id)
    rig.clock.advance(5 * 3600)
    assert rig.provider.status(external_id).phase is Phase.STOPPED


def test_a_queued_start_that_cannot_be_taken_back_is_unavailable(rig: Rig) -> None:
    external_id = stopped_and_taken(rig)
    rig.server.faults.edit("PUT", ONE, lambda reply: reply)  # the start succeeds
    rig.server.faults.answer("PUT", ONE, Reply(status=503), times=99)
    with pytest.raises(Unavailable):
        rig.provider.start(external_id)
    assert rig.provider.status(external_id).phase is Phase.BOOTING


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"success": False, "msg": "something new"}, NoCapacity),
        ({"success": False, "error": "missing_billing", "msg": "pay"}, QuotaExceeded),
    ],
)
def test_a_start_that_was_not_granted_is_taken_back_whatever_was_said(
    rig: Rig, body: dict[str, object], error: type[ProviderError]
) -> None:
    external_id = stopped_and_taken(rig)
    rig.server.faults.answer_after("PUT", ONE, Reply(json=body))
    with pytest.raises(error):
        rig.provider.start(external_id)
    rig.clock.advance(5 * 3600)
    assert rig.provider.status(external_id).phase is Phase.STOPPED


@pytest.mark.parametrize("verb", ["stop", "start"])
def test_stop_and_start_of_a_machine_that_is_gone_are_not_found(rig: Rig, verb: str) -> None:
    with pytest.raises(NotFound):
        getattr(rig.provider, verb)("31245678")


def test_a_stop_that_was_not_done_is_not_a_success(rig: Rig) -> None:
    machine = rig.running()
    no = Reply(json={"success": False, "msg": "try later"})
    rig.server.faults.answer("PUT", ONE, no, times=9)
    with pytest.raises(Unavailable):
        rig.provider.stop(machine.external_id)


# Destroy.


@pytest.mark.fault(35)
@pytest.mark.parametrize("code", ["no_such_instance", "not_found"])
def test_destroying_a_machine_that_is_gone_succeeds(rig: Rig, code: str) -> None:
    rig.emulator.quirks.gone_code = code
    machine = rig.running()
    rig.provider.destroy(machine.external_id)
    rig.clock.advance(A_WHILE)
    rig.provider.destroy(machine.external_id)
    assert rig.tokens() == []


@pytest.mark.fault(49)
def test_a_revoked_key_answered_with_404_destroys_and_proves_nothing(rig: Rig) -> None:
    machine = rig.running()
    rig.emulator.keys = {"another"}
    for verb in ("destroy", "status", "stop", "start", "logs"):
        with pytest.raises(AuthFailed):
            getattr(rig.provider, verb)(machine.external_id)
    rig.emulator.keys = None
    assert rig.provider.status(machine.external_id).phase is Phase.RUNNING


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(status=404, text="<html>no route</html>", content_type="text/html"), Unavailable),
        (Reply(status=404, json={"msg": "hm"}), Unavailable),
        (Reply(status=409, json={"error": "conflict", "msg": "busy"}), Refused),
        (Reply(status=429, json={"msg": "endpoint threshold=3.0"}), RateLimited),
        (Reply(status=500, json={"success": False, "error": "not_found", "msg": ""}), Unavailable),
        (Reply(status=503), Unavailable),
        (Reply(json={"success": False, "msg": "could not"}), Unavailable),
        (Reply(json=None), Unavailable),
    ],
)
def test_a_destroy_that_failed_is_never_a_success(
    rig: Rig, reply: Reply, error: type[ProviderError]
) -> None:
    machine = rig.running()
    rig.server.faults.answer("DELETE", ONE, reply, times=99)
    with pytest.raises(error):
        rig.provider.destroy(machine.external_id)


@pytest.mark.fault(35)
def test_a_destroy_without_an_answer_is_repeated(rig: Rig) -> None:
    machine = rig.running()
    rig.server.faults.lose_answer("DELETE", ONE)
    rig.provider.destroy(machine.external_id)
    rig.clock.advance(A_WHILE)
    assert rig.tokens() == []


@pytest.mark.fault(36)
def test_a_destroyed_machine_is_not_gone_before_its_row_is(rig: Rig) -> None:
    machine = rig.running()
    rig.provider.destroy(machine.external_id)
    assert rig.provider.status(machine.external_id).phase is not Phase.GONE
    assert [m.phase for m in rig.provider.list_tagged(TAG)] != [Phase.GONE]
    rig.clock.advance(A_WHILE)
    with pytest.raises(NotFound):
        rig.provider.status(machine.external_id)


@pytest.mark.fault(36)
def test_a_destroy_that_the_vendor_forgets_leaves_the_machine_visible(rig: Rig) -> None:
    machine = rig.running()
    rig.emulator.quirks.keeps_destroyed = True
    rig.provider.destroy(machine.external_id)
    rig.clock.advance(3600)
    assert rig.provider.status(machine.external_id).phase is Phase.RUNNING


@pytest.mark.parametrize("state", ["booting", "stopped", "outbid", "offline", "exited"])
def test_a_machine_can_be_destroyed_in_every_state(rig: Rig, state: str) -> None:
    machine = rig.create(offer=rig.offer(BIDS))
    market, contract = rig.emulator.market, rig.contract(machine)
    if state != "booting":
        rig.clock.advance(A_WHILE)
    if state == "stopped":
        market.stop(contract)
        rig.clock.advance(A_WHILE)
    elif state == "outbid":
        market.rival_bids(contract.slot, Decimal(1))
    elif state == "offline":
        market.goes_offline(contract)
    elif state == "exited":
        market.exits(contract)
    rig.provider.destroy(machine.external_id)
    rig.clock.advance(A_WHILE)
    assert rig.tokens() == []
    assert market.credit_left() == market.credit - market.bill.grand_total(now=market.now())


# Vast.ai's own rate limits.


def test_the_promised_rates_stay_within_the_vendors_limits() -> None:
    for endpoint, rate in Vastai.capabilities.rates.items():
        most, seconds = VENDOR_LIMITS[endpoint]
        window = timedelta(seconds=seconds)
        # The most requests that can be sent within one window.
        assert rate.burst + (window - timedelta(microseconds=1)) // rate.every <= most, endpoint


def test_calls_at_the_promised_rate_are_never_refused() -> None:
    with vast(limits=VENDOR_LIMITS) as rig:
        rates = rig.provider.capabilities.rates
        machine = rig.running()
        for verb, endpoint in (("status", "status"), ("stop", "manage"), ("destroy", "destroy")):
            for _ in range(3):
                rig.clock.advance(rates[endpoint].every.total_seconds())
                getattr(rig.provider, verb)(machine.external_id)
        for _ in range(20):
            rig.clock.advance(rates["search"].every.total_seconds())
            rig.provider.offers(ON_DEMAND)
        assert 429 not in {e.reply.status for e in rig.server.exchanges if e.reply}


@pytest.mark.fault(50)
def test_calls_that_are_too_fast_are_rate_limited_and_say_for_how_long() -> None:
    with vast(limits=VENDOR_LIMITS) as rig:
        machine = rig.create("t1")
        with pytest.raises(RateLimited) as create:
            rig.create("t2")
        assert create.value.retry_after == 4.5
        rig.provider.destroy(machine.external_id)
        with pytest.raises(RateLimited) as destroy:
            rig.provider.destroy(machine.external_id)
        assert destroy.value.retry_after == 3.0
