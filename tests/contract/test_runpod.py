"""Tests of RunPod beyond the contract."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import Reply
from pods.emulators.runpod_state import Boot
from pods.providers.base import Phase
from pods.providers.errors import NoCapacity, NotFound, Refused
from tests.support.rigs.runpod_rig import A_WHILE, ACTION, DOCUMENT, POD, TAG, Rig, a_spec, runpod
from tests.support.vendor_documents import vendor_document


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as rig:
        yield rig


def test_the_vendors_document_is_at_hand_for_these_tests() -> None:
    if vendor_document(DOCUMENT) is None:
        pytest.skip(f"no {DOCUMENT}: exchanges are held to our own schemas alone (PODFLEET_SPECS)")


@pytest.mark.fault(16)
def test_a_pod_is_booting_until_its_container_runs(rig: Rig) -> None:
    rig.state.boot = Boot(provisioning=10, starting=10, pulling=10)
    machine = rig.create()
    seen = []
    for _ in range(4):
        now = rig.provider.status(machine.external_id)
        seen.append((now.raw_status, now.phase))
        rig.clock.advance(10)
    assert seen == [
        ("PROVISIONING", Phase.BOOTING),
        ("STARTING", Phase.BOOTING),
        ("RUNNING", Phase.BOOTING),
        ("RUNNING", Phase.RUNNING),
    ]


@pytest.mark.fault(17)
def test_a_pod_that_is_stuck_stays_booting(rig: Rig) -> None:
    machine = rig.create()
    rig.state.pods[machine.external_id].stuck = True
    rig.clock.advance(A_WHILE)
    assert rig.provider.status(machine.external_id).phase is Phase.BOOTING


def test_a_pod_in_error_has_failed_and_can_be_destroyed(rig: Rig) -> None:
    machine = rig.running()
    rig.state.fail(machine.external_id)
    assert rig.provider.status(machine.external_id).phase is Phase.FAILED
    rig.provider.destroy(machine.external_id)
    assert rig.made() == []


@pytest.mark.fault(28)
@pytest.mark.parametrize("status", ["HIBERNATED", "running", "", None, 7, {}])
def test_a_status_that_nobody_knows_is_unknown_and_never_gone(rig: Rig, status: Any) -> None:
    machine = rig.running()
    rig.server.faults.edit_json("GET", POD, lambda pod: {**pod, "status": status})
    assert rig.provider.status(machine.external_id).phase is Phase.UNKNOWN


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    "missing", ["runtime", "cost", "gpu", "createdAt", "dataCenterId", "locked"]
)
def test_a_field_that_is_missing_makes_a_fact_unknown_and_nothing_else(
    rig: Rig, missing: str
) -> None:
    machine = rig.running()

    def without(pod: Any) -> Any:
        return {k: v for k, v in pod.items() if k != missing}

    rig.server.faults.edit_json("GET", POD, without)
    seen = rig.provider.status(machine.external_id)
    assert (seen.external_id, seen.token) == (machine.external_id, "aa11")
    assert seen.phase is (Phase.BOOTING if missing == "runtime" else Phase.RUNNING)


def test_a_new_field_changes_nothing(rig: Rig) -> None:
    machine = rig.running()
    rig.server.faults.edit_json("GET", POD, lambda pod: {**pod, "quantum": {"entangled": True}})
    assert rig.provider.status(machine.external_id) == machine


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-08-20T06:16:19Z", "2026-08-20 06:16:19+00:00"),
        ("2026-08-20 06:16:19.436 +0000 UTC", "2026-08-20 06:16:19.436000+00:00"),
        ("yesterday", "None"),
        (None, "None"),
    ],
)
def test_times_are_read_as_v2_and_v1_write_them(rig: Rig, written: Any, read: str) -> None:
    machine = rig.running()
    rig.server.faults.edit_json("GET", POD, lambda pod: {**pod, "createdAt": written})
    assert str(rig.provider.status(machine.external_id).created_at) == read


@pytest.mark.parametrize("kept", [True, False])
def test_the_price_of_a_stopped_pod_is_not_believed(kept: bool) -> None:
    with runpod(cost_kept_when_exited=kept) as rig:
        machine = rig.running()
        assert machine.hourly_usd == Decimal("0.16")
        rig.provider.stop(machine.external_id)
        stopped = rig.provider.status(machine.external_id)
        assert (stopped.phase, stopped.hourly_usd) == (Phase.STOPPED, None)


@pytest.mark.fault(28)
@pytest.mark.parametrize("cost", [0, -1, "0.3", None, True, 1e300])
def test_a_price_that_cannot_be_believed_is_unknown_and_not_free(rig: Rig, cost: Any) -> None:
    machine = rig.running()
    rig.server.faults.edit_json("GET", POD, lambda pod: {**pod, "cost": cost})
    assert rig.provider.status(machine.external_id).hourly_usd is None


@pytest.mark.fault(9)
def test_a_fresh_pod_that_answers_404_is_not_found_and_appears(rig: Rig) -> None:
    rig.state.get_lag = rig.state.list_lag = 60
    machine = rig.create()
    with pytest.raises(NotFound):
        rig.provider.status(machine.external_id)
    assert rig.provider.list_tagged(TAG) == []
    assert rig.provider.capabilities.list_lag.total_seconds() >= 60
    rig.clock.advance(60)
    assert rig.provider.status(machine.external_id).token == "aa11"
    assert [m.token for m in rig.provider.list_tagged(TAG)] == ["aa11"]


@pytest.mark.fault(9)
def test_a_destroy_of_a_fresh_pod_that_answers_404_leaves_it_to_be_asked_again(rig: Rig) -> None:
    rig.state.get_lag = 60
    machine = rig.create()
    rig.provider.destroy(machine.external_id)  # a success does not prove that it is gone
    assert rig.made() == ["aa11"]
    rig.clock.advance(60)
    rig.provider.destroy(machine.external_id)
    assert rig.made() == []


@pytest.mark.fault(26)
def test_a_pod_that_vanished_is_in_neither_status_nor_list(rig: Rig) -> None:
    machine = rig.running()
    rig.state.vanish(machine.external_id)
    with pytest.raises(NotFound):
        rig.provider.status(machine.external_id)
    assert rig.provider.list_tagged(TAG) == []
    rig.provider.destroy(machine.external_id)


@pytest.mark.fault(36)
def test_a_destroyed_pod_may_be_listed_for_a_while_as_gone(rig: Rig) -> None:
    rig.state.linger = 30
    machine = rig.running()
    rig.provider.destroy(machine.external_id)
    assert [m.phase for m in rig.provider.list_tagged(TAG)] == [Phase.GONE]
    rig.clock.advance(30)
    assert rig.provider.list_tagged(TAG) == []


@pytest.mark.fault(24)
def test_a_stopped_pod_whose_host_is_full_has_no_capacity(rig: Rig) -> None:
    machine = rig.running()
    rig.provider.stop(machine.external_id)
    rig.state.full_hosts.add(machine.external_id)
    with pytest.raises(NoCapacity, match="not enough free GPUs"):
        rig.provider.start(machine.external_id)
    assert rig.provider.status(machine.external_id).phase is Phase.STOPPED


def test_an_action_whose_answer_is_lost_is_asked_again_and_done_once(rig: Rig) -> None:
    machine = rig.running()
    rig.server.faults.lose_answer("POST", ACTION)
    rig.provider.stop(machine.external_id)
    assert rig.provider.status(machine.external_id).phase is Phase.STOPPED


def test_a_locked_pod_is_unlocked_and_stopped(rig: Rig) -> None:
    machine = rig.running()
    rig.state.pods[machine.external_id].locked = True
    rig.provider.stop(machine.external_id)
    assert rig.provider.status(machine.external_id).phase is Phase.STOPPED


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_locked_pod_that_cannot_be_destroyed_is_unlocked_and_destroyed(
    rig: Rig, status: int
) -> None:
    machine = rig.running()
    rig.state.pods[machine.external_id].locked = True
    refusal = {"title": "Conflict", "status": status, "detail": "pod is locked"}
    rig.server.faults.answer("DELETE", POD, Reply(status=status, json=refusal))
    rig.provider.destroy(machine.external_id)
    assert rig.made() == []


def test_a_member_of_a_cluster_is_not_destroyed_and_says_so(rig: Rig) -> None:
    machine = rig.running()
    refusal = {"title": "Conflict", "status": 409, "detail": "pod belongs to a cluster"}
    rig.server.faults.answer("DELETE", POD, Reply(status=409, json=refusal), times=2)
    with pytest.raises(Refused, match="belongs to a cluster"):
        rig.provider.destroy(machine.external_id)


@pytest.mark.fault(49)
def test_a_used_up_balance_ends_pods_but_stops_those_with_a_network_volume(rig: Rig) -> None:
    offer = rig.offer().key
    kept = rig.connect(network_volume="vol1").create(a_spec("bb22", offer), token="bb22")
    rig.running("aa11")
    rig.state.balance_usd = Decimal("0.01")
    rig.state.tick()
    assert rig.made() == ["bb22"]
    assert rig.provider.status(kept.external_id).phase is Phase.STOPPED
