"""Machines at Vast.ai as status and list show them, and what must not be concluded from an answer."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import Reply
from pods.emulators.vastai_contracts import Pace
from pods.providers.base import Phase
from pods.providers.errors import (
    NotFound,
    Refused,
    Unavailable,
)
from pods.providers.vastai import Vastai
from tests.support.rigs.vastai_rig import A_WHILE, BIDS, TAG, Rig, a_spec, vast

ONE = r"/api/v0/instances/\d+/"
LIST = "/api/v1/instances/"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with vast() as rig:
        yield rig


# One machine.


def test_a_boot_is_seen_as_booting_until_its_container_runs(rig: Rig) -> None:
    machine = rig.create()
    phases = []
    for _ in range(9):
        phases.append(rig.provider.status(machine.external_id).phase)
        rig.clock.advance(1)
    assert phases == [*[Phase.BOOTING] * 8, Phase.RUNNING]


@pytest.mark.parametrize("shape", ["null", "object", "list"])
def test_a_machine_that_is_not_shown_is_not_found(rig: Rig, shape: str) -> None:
    rig.emulator.quirks.gone_shape = shape
    with pytest.raises(NotFound):
        rig.provider.status("31245678")


@pytest.mark.fault(9)
def test_a_new_machine_can_be_missing_at_first_for_no_longer_than_is_promised() -> None:
    lag = Vastai.capabilities.list_lag
    with vast(pace=Pace(list_lag=lag, status_lag=lag)) as rig:
        machine = rig.create("t1")
        with pytest.raises(NotFound):
            rig.provider.status(machine.external_id)
        assert rig.tokens() == []
        rig.clock.advance(lag.total_seconds())
        assert rig.tokens() == ["t1"]
        assert rig.provider.status(machine.external_id).token == "t1"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(json={}),
        Reply(json=[]),
        Reply(json=None),
        Reply(json={"instances": 7}),
        Reply(json={"instances": False}),
        Reply(json={"instances": ""}),
        Reply(json={"instances": {"id": 1}}),
        Reply(json={"instances": [{"id": 1}]}),
        Reply(json={"instances": {"label": "x"}}),
        Reply(json={"success": False}),
        Reply(text="it works", content_type="text/plain"),
        Reply(status=404, json={"error": "surprise"}),
        Reply(status=404, text="<html>no route</html>", content_type="text/html"),
        Reply(status=410, json={"success": False, "error": "deprecated_endpoint", "msg": "v1"}),
    ],
)
def test_an_answer_that_cannot_be_read_says_nothing_about_a_machine(rig: Rig, reply: Reply) -> None:
    machine = rig.create()
    rig.server.faults.answer("GET", ONE, reply, times=9)
    with pytest.raises(Unavailable):
        rig.provider.status(machine.external_id)


def test_a_single_answer_in_a_list_is_read_too(rig: Rig) -> None:
    machine = rig.running()
    rig.server.faults.edit_json("GET", ONE, lambda b: {"instances": [b["instances"]]})
    assert rig.provider.status(machine.external_id).phase is Phase.RUNNING


@pytest.mark.fault(28)
def test_new_fields_and_words_do_no_harm_and_are_never_read_as_gone(rig: Rig) -> None:
    machine = rig.running()

    def surprise(body: Any) -> Any:
        row = body["instances"] | {"actual_status": "meditating", "karma": {"a": [1]}}
        return {"instances": row, "more": 1}

    rig.server.faults.edit_json("GET", ONE, surprise)
    seen = rig.provider.status(machine.external_id)
    assert seen.phase is Phase.UNKNOWN
    assert "meditating" in seen.raw_status


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("defect", "phase", "because"),
    [
        ("stuck", Phase.BOOTING, "pulling"),
        ("pull", Phase.FAILED, "pull access denied"),
        ("oci", Phase.FAILED, "OCI runtime create failed"),
    ],
)
def test_a_boot_that_cannot_succeed_is_distinguished_from_a_slow_one(
    rig: Rig, defect: str, phase: Phase, because: str
) -> None:
    rig.emulator.quirks.defects.append(defect)
    machine = rig.create()
    rig.clock.advance(3600)
    seen = rig.provider.status(machine.external_id)
    assert seen.phase is phase
    assert because in seen.because


def test_a_machine_that_exited_or_lost_its_host_has_failed(rig: Rig) -> None:
    exited, offline = rig.running("t1"), rig.running("t2")
    rig.emulator.market.exits(rig.contract(exited))
    rig.emulator.market.goes_offline(rig.contract(offline))
    assert rig.provider.status(exited.external_id).phase is Phase.FAILED
    assert rig.provider.status(offline.external_id).phase is Phase.FAILED


@pytest.mark.fault(23)
def test_an_outbid_machine_is_stopped_and_starts_again_by_itself(rig: Rig) -> None:
    machine = rig.running(offer=rig.offer(BIDS))
    market = rig.emulator.market
    market.rival_bids(rig.contract(machine).slot, Decimal(1), for_=timedelta(hours=1))
    seen = rig.provider.status(machine.external_id)
    assert (seen.phase, seen.interruptible) == (Phase.STOPPED, True)
    rig.clock.advance(3600 + A_WHILE)
    assert rig.provider.status(machine.external_id).phase is Phase.RUNNING
    assert rig.provider.capabilities.comes_back


def test_a_contract_that_ended_is_stopped(rig: Rig) -> None:
    machine = rig.running()
    rig.clock.advance(timedelta(days=22).total_seconds())
    assert rig.provider.status(machine.external_id).phase is Phase.STOPPED


@pytest.mark.parametrize("bad", ["", "0", "-1", "7/8", "../users/current", "7?x=1", "٧", "7\n"])
@pytest.mark.parametrize("verb", ["status", "stop", "start", "destroy", "logs"])
def test_what_is_no_id_never_reaches_a_path(rig: Rig, verb: str, bad: str) -> None:
    with pytest.raises(Refused):
        getattr(rig.provider, verb)(bad)
    assert rig.server.calls() == 0


# The list.


def test_a_list_is_read_page_by_page_and_holds_only_what_is_tagged() -> None:
    with vast(slots=60) as rig:
        with_machines(rig, 55)
        rig.provider.create(a_spec("x", rig.offer(), name="mine-x", tag="mine"), token="x")
        assert rig.tokens() == [f"t{n}" for n in range(55)]
        assert rig.server.calls("GET", LIST) == 3


def rent(rig: Rig, token: str) -> None:
    """A machine that was not created by a call of ours."""
    market = rig.emulator.market
    facts: dict[str, Any] = {"label": f"{TAG}-{token}", "image": "i", "args": [], "env": {}}
    market.rent(market.add_slot(), bid=None, cancel=True, disk=Decimal(8), **facts)


def with_machines(rig: Rig, count: int) -> None:
    for number in range(count):
        rent(rig, f"t{number}")


@pytest.mark.parametrize("change", ["one is destroyed", "one is created"])
def test_a_list_that_shifts_while_it_is_read_is_read_again(rig: Rig, change: str) -> None:
    with_machines(rig, 30)
    market = rig.emulator.market
    first = next(iter(market.contracts.values()))

    def meddle(reply: Reply) -> Reply:
        if change == "one is destroyed":
            market.destroy(first)
            rig.clock.advance(A_WHILE)
        else:
            rent(rig, "new")
        return reply

    rig.server.faults.edit("GET", LIST, meddle)
    expected = [f"t{n}" for n in range(30)]
    expected = expected[1:] if change == "one is destroyed" else [*expected, "new"]
    assert rig.tokens() == expected


def broken_lists() -> list[tuple[str, Callable[[Any], Any]]]:
    def without(name: str) -> Callable[[Any], Any]:
        return lambda body: {k: v for k, v in body.items() if k != name}

    def having(**changes: Any) -> Callable[[Any], Any]:
        return lambda body: body | changes

    return [
        ("no instances", without("instances")),
        ("instances null", having(instances=None)),
        ("instances an object", having(instances={})),
        ("no total", without("total_instances")),
        ("total null", having(total_instances=None)),
        ("cut short", lambda body: body | {"instances": body["instances"][:1]}),
        ("empty with 200", having(instances=[])),
        ("success false", having(success=False, error="x", msg="y")),
        ("a row without id", having(instances=[{"label": f"{TAG}-t0"}], total_instances=1)),
        ("a row that is none", having(instances=[None], total_instances=1)),
        ("an endless token", having(next_token="AAAA")),
        ("a token that is none", having(next_token=7)),
        ("not an object", lambda body: body["instances"]),
    ]


@pytest.mark.fault(30)
@pytest.mark.parametrize(("how", "change"), broken_lists(), ids=lambda p: p if p is str else None)
def test_a_list_that_is_not_whole_is_an_error_and_never_a_part(
    rig: Rig, how: str, change: Callable[[Any], Any]
) -> None:
    with_machines(rig, 2)
    rig.server.faults.edit_json("GET", LIST, change, times=999)
    with pytest.raises(Unavailable):
        rig.provider.list_tagged(TAG)


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=410, json={"success": False, "error": "deprecated_endpoint", "msg": "v2"}),
        Reply(status=404, json={"success": False, "error": "no_such_instance", "msg": "gone"}),
        Reply(status=404, json={"success": False, "error": "not_found", "msg": "gone"}),
        Reply(status=400, json={"error": "invalid_token", "msg": "invalid after_token"}),
        Reply(status=502, text="<html>bad gateway</html>", content_type="text/html"),
        Reply(text="", content_type="text/plain"),
        Reply(text="[", content_type="application/json"),
        Reply(json=None),
    ],
)
def test_an_error_on_any_page_of_the_list_is_an_error_of_the_list(rig: Rig, reply: Reply) -> None:
    with_machines(rig, 30)
    rig.server.faults.edit("GET", LIST, lambda page: page)  # the first page is good
    rig.server.faults.answer("GET", LIST, reply, times=999)
    with pytest.raises(Unavailable):
        rig.provider.list_tagged(TAG)


def test_a_list_that_fails_once_is_asked_for_again(rig: Rig) -> None:
    with_machines(rig, 2)
    rig.server.faults.answer("GET", LIST, Reply(status=503))
    rig.server.faults.lose_answer("GET", LIST)
    assert rig.tokens() == ["t0", "t1"]


def test_the_removed_v0_list_is_never_asked(rig: Rig) -> None:
    with_machines(rig, 1)
    rig.tokens()
    assert rig.server.calls("GET", "/api/v0/instances/?") == 0
