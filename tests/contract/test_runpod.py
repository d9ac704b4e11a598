"""RunPod: the contract, and what is particular to it."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pods.providers.base import OfferQuery, Phase
from pods.providers.errors import NoCapacity, NotFound, Refused, Unavailable
from tests.contract.runpod_rig import (
    A_WHILE,
    ACTION,
    DOCUMENT,
    POD,
    PODS,
    TAG,
    Rig,
    a_spec,
    runpod,
)
from tests.emulators.base import Reply
from tests.emulators.runpod_state import Boot
from tests.emulators.validation import vendor_document


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as rig:
        yield rig


def test_the_vendors_document_is_at_hand_for_these_tests() -> None:
    if vendor_document(DOCUMENT) is None:
        pytest.skip(f"no {DOCUMENT}: exchanges are held to our own schemas alone (PODFLEET_SPECS)")


# Offers.


def test_an_offer_is_a_cloud_a_gpu_type_and_a_data_center(rig: Rig) -> None:
    offers = {o.key: o for o in rig.provider.offers(OfferQuery(gpu_types=["RTX 4090"]))}
    assert offers.keys() == {
        "SECURE:NVIDIA GeForce RTX 4090:1:EU-RO-1",
        "COMMUNITY:NVIDIA GeForce RTX 4090:1:EU-RO-1",
        "COMMUNITY:NVIDIA GeForce RTX 4090:1:US-TX-3",
    }
    cheap = offers["COMMUNITY:NVIDIA GeForce RTX 4090:1:US-TX-3"]
    assert (cheap.hourly_usd, cheap.gpu_type, cheap.vram_gb, cheap.region, cheap.interruptible) == (
        Decimal("0.34"),
        "RTX 4090",
        24,
        "US-TX-3",
        False,
    )


def test_prices_are_of_all_gpus_together(rig: Rig) -> None:
    offers = rig.provider.offers(OfferQuery(gpu_types=["RTX 4090"], gpu_count=4))
    assert {(o.region, o.hourly_usd, o.gpu_count) for o in offers} == {
        ("EU-RO-1", Decimal("2.76"), 4),
        ("EU-RO-1", Decimal("1.36"), 4),
    }


@pytest.mark.parametrize(
    ("query", "types"),
    [
        (OfferQuery(gpu_types=["nvidia geforce rtx 4090"]), {"RTX 4090"}),
        (OfferQuery(gpu_types=["H100 SXM"]), {"H100 80GB HBM3"}),
        (OfferQuery(min_vram_gb=48), {"H100 80GB HBM3"}),
        (OfferQuery(max_hourly_usd=Decimal("0.20")), {"RTX A5000"}),
        (OfferQuery(regions=["EU"]), {"RTX 4090"}),
        (OfferQuery(regions=["us-ks-2"]), {"H100 80GB HBM3"}),
        (OfferQuery(regions=["U"]), set()),
        (OfferQuery(gpu_count=16), set()),
        (OfferQuery(interruptible=True), set()),
        (OfferQuery(gpu_types=["RTX 5090"]), set()),
    ],
)
def test_offers_fit_the_query(rig: Rig, query: OfferQuery, types: set[str]) -> None:
    assert {o.gpu_type for o in rig.provider.offers(query)} == types


def test_what_is_out_of_stock_is_not_offered(rig: Rig) -> None:
    rig.state.catalog[0].stock["COMMUNITY", "US-TX-3"] = 0
    rig.state.catalog[1].stock = dict.fromkeys(rig.state.catalog[1].stock, 0)
    offers = rig.provider.offers(OfferQuery())
    assert "RTX A5000" not in {o.gpu_type for o in offers}
    assert "COMMUNITY:NVIDIA GeForce RTX 4090:1:US-TX-3" not in {o.key for o in offers}


def test_a_gpu_without_named_places_is_offered_anywhere_unless_places_were_asked_for(
    rig: Rig,
) -> None:
    def nameless(body: Any) -> Any:
        return {"gpus": [{k: v for k, v in g.items() if k != "dataCenters"} for g in body["gpus"]]}

    rig.server.faults.edit_json("GET", "/v2/catalog/gpus", nameless, times=4)
    anywhere = rig.provider.offers(OfferQuery(gpu_types=["RTX A5000"]))
    assert {o.region for o in anywhere} == {""}
    assert rig.provider.offers(OfferQuery(regions=["EU"])) == []
    machine = rig.provider.create(a_spec("aa11", anywhere[1].key), token="aa11")
    rig.clock.advance(A_WHILE)
    assert rig.provider.status(machine.external_id).region == "US-TX-3"


def test_an_account_keeps_to_its_clouds_and_data_centers(rig: Rig) -> None:
    secure = rig.connect(clouds=["SECURE"], data_centers=["EU-RO-1"])
    assert [o.key for o in secure.offers(OfferQuery())] == [
        "SECURE:NVIDIA GeForce RTX 4090:1:EU-RO-1"
    ]
    assert rig.server.calls("GET", "/v2/catalog/gpus") == 1


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    "spoil",
    [
        {"price": None},
        {"price": {"secure": "0.4", "community": "0.3"}},
        {"price": {"secure": -1, "community": 0}},
        {"secure": False, "community": False},
        {"id": None},
    ],
)
def test_a_gpu_whose_price_cannot_be_believed_is_not_offered(rig: Rig, spoil: Any) -> None:
    def edit(body: Any) -> Any:
        first, *others = body["gpus"]
        return {"gpus": [{**first, **spoil}, *others]}

    rig.server.faults.edit_json("GET", "/v2/catalog/gpus", edit, times=2)
    types = {o.gpu_type for o in rig.provider.offers(OfferQuery())}
    assert types == {"RTX A5000", "H100 80GB HBM3"}


@pytest.mark.parametrize("body", [{}, [], None, {"gpus": None}, {"gpus": {}}, {"gpus": ["RTX"]}])
def test_a_catalog_without_a_list_is_an_error_and_not_an_empty_market(rig: Rig, body: Any) -> None:
    rig.server.faults.answer("GET", "/v2/catalog/gpus", Reply(json=body))
    with pytest.raises(Unavailable):
        rig.provider.offers(OfferQuery())


# Creating.


def test_a_create_sends_what_the_fleet_asked_for(rig: Rig) -> None:
    command = ["python", "-m", "pods.agent", "--note", "it's 5 o'clock; rm -rf /"]
    rig.create("aa11", command=command)
    body = json.loads(rig.server.exchanges[-1].request.raw)
    assert shlex.split(body.pop("args")) == command
    assert body.pop("env")["N"] == "1"
    assert body == {
        "name": f"{TAG}-aa11",
        "image": "registry.example/worker:1.4.2",
        "cloud": "COMMUNITY",
        "gpu": {"id": "NVIDIA RTX A5000", "count": 1},
        "dataCenterIds": ["US-TX-3"],
        "disk": 40,
    }


def test_an_accounts_options_are_sent_along(rig: Rig) -> None:
    offer = rig.offer().key
    options: dict[str, Any] = {
        "registry": "reg1",
        "min_cuda_version": "12.4",
        "volume_gb": 20,
        "volume_path": "/w",
    }
    rig.connect(**options).create(a_spec("aa11", offer), token="aa11")
    body = json.loads(rig.server.exchanges[-1].request.raw)
    assert (body["registry"], body["gpu"]["minCudaVersion"]) == ("reg1", "12.4")
    assert body["mounts"] == {"persistent": {"size": 20, "path": "/w"}}
    rig.connect(network_volume="vol1").create(a_spec("bb22", offer), token="bb22")
    body = json.loads(rig.server.exchanges[-1].request.raw)
    assert body["mounts"] == {"network": [{"volumeId": "vol1", "path": "/workspace"}]}


def test_the_rent_of_a_stopped_pod_is_that_of_its_volume(rig: Rig) -> None:
    offers = rig.connect(volume_gb=73).offers(OfferQuery())
    assert {o.stopped_hourly_usd for o in offers} == {Decimal("0.02")}
    assert {o.stopped_hourly_usd for o in rig.provider.offers(OfferQuery())} == {Decimal(0)}


@pytest.mark.parametrize(
    "changes",
    [
        {"offer_key": "28471022"},
        {"offer_key": "SECURE:RTX:one:EU"},
        {"image": ""},
        {"tag": "a-tag-that-is-longer-than-what-a-name-can-hold-with-its-token"},
        {"env": {f"V{n}": "x" for n in range(51)}},
    ],
)
def test_what_runpod_would_refuse_is_refused_before_it_is_sent(rig: Rig, changes: Any) -> None:
    spec = replace(a_spec("aa11", rig.offer().key), **changes)
    with pytest.raises(Refused):
        rig.provider.create(spec, token="aa11")
    assert rig.server.calls("POST") == 0


def test_two_creates_make_two_pods(rig: Rig) -> None:
    assert not rig.provider.capabilities.idempotent_create
    assert rig.create("aa11").external_id != rig.create("aa11").external_id
    assert rig.made() == ["aa11", "aa11"]


# Life.


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
    rig.provider.destroy(machine.external_id)  # success proves nothing
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


# Lists.


@pytest.mark.parametrize("page_size", [None, 1, 2, 3, 100])
def test_a_list_with_and_without_pages_is_complete(page_size: int | None) -> None:
    with runpod(page_size=page_size) as rig:
        for n in range(5):
            rig.create(f"aa{n}", offer_key=rig.offer(gpu_types=["RTX 4090"]).key)
        found = [m.token for m in rig.provider.list_tagged(TAG)]
        assert sorted(found) == [f"aa{n}" for n in range(5)]


def test_only_what_carries_the_tag_is_listed(rig: Rig) -> None:
    offer = rig.offer(gpu_types=["RTX 4090"]).key
    for tag in (TAG, f"{TAG}8", "a-colleague"):
        rig.provider.create(a_spec("aa11", offer, tag=tag), token="aa11")
    assert [m.name for m in rig.provider.list_tagged(TAG)] == [f"{TAG}-aa11"]
    both = {m.name for m in rig.provider.list_tagged("pf-a1b2c3")}
    assert both == {f"{TAG}-aa11", f"{TAG}8-aa11"}


@pytest.mark.fault(30)
@pytest.mark.parametrize("change", ["one is created", "one is destroyed"])
def test_a_list_that_shifts_while_it_is_read_loses_and_doubles_no_pod(change: str) -> None:
    with runpod(page_size=2) as rig:
        key = rig.offer(gpu_types=["RTX 4090"], gpu_count=1).key.replace("COMMUNITY", "SECURE")
        for n in range(5):
            rig.provider.create(a_spec(f"aa{n}", key), token=f"aa{n}")
        living = {m.external_id for m in rig.provider.list_tagged(TAG)}
        newest = rig.state.living()[-1].id

        def shift(reply: Reply) -> Reply:
            if change == "one is created":
                rig.state.create(rig.state.pods[newest].request)
            else:
                rig.state.delete(newest)
            return reply

        rig.server.faults.edit("GET", PODS, shift)
        found = [m.external_id for m in rig.provider.list_tagged(TAG)]
        assert len(found) == len(set(found))
        assert set(found) >= living - {newest}


SPOILT_PAGES: dict[str, Any] = {
    "nothing": {},
    "null": None,
    "a bare list, as v1": [],
    "no pods": {"pagination": {"hasNextPage": False, "nextCursor": None}},
    "pods are null": {"pods": None},
    "pods are an object": {"pods": {}},
    "an error read as empty": {"pods": None, "error": "internal"},
    "a pod is null": {"pods": [None]},
    "a pod without an id": {"pods": [{"name": "x"}]},
    "a pod without a name": {"pods": [{"id": "x"}]},
    "it goes on, and does not say where": {"pods": [], "pagination": {"hasNextPage": True}},
    "it goes on at nothing": {"pods": [], "pagination": {"hasNextPage": True, "nextCursor": ""}},
    "nobody knows whether it goes on": {"pods": [], "pagination": {"nextCursor": "x"}},
    "pages that are none": {"pods": [], "pagination": "yes"},
}


@pytest.mark.fault(30)
@pytest.mark.parametrize("body", SPOILT_PAGES.values(), ids=SPOILT_PAGES.keys())
def test_a_list_that_is_not_as_it_should_be_is_an_error_and_not_empty(rig: Rig, body: Any) -> None:
    rig.create()
    rig.server.faults.answer("GET", PODS, Reply(json=body))
    with pytest.raises(Unavailable):
        rig.provider.list_tagged(TAG)


@pytest.mark.fault(30)
def test_a_cursor_that_does_not_move_is_an_error(rig: Rig) -> None:
    page = Reply(json={"pods": [], "pagination": {"hasNextPage": True, "nextCursor": "same"}})
    rig.server.faults.answer("GET", PODS, page, times=100)
    with pytest.raises(Unavailable, match="does not move"):
        rig.provider.list_tagged(TAG)
    assert rig.server.calls("GET", PODS) == 2


@pytest.mark.fault(30)
@pytest.mark.parametrize("page", [1, 2])
def test_a_list_of_which_a_page_fails_is_an_error(page: int) -> None:
    with runpod(page_size=1) as rig:
        for token in ("aa11", "bb22"):
            rig.create(token)
        for _ in range(page - 1):
            rig.server.faults.edit("GET", PODS, lambda reply: reply)
        rig.server.faults.answer("GET", PODS, Reply(status=500, text="<html>"), times=3)
        with pytest.raises(Unavailable):
            rig.provider.list_tagged(TAG)


# Logs and the balance.


def test_logs_are_the_last_lines_of_the_container(rig: Rig) -> None:
    machine = rig.running()
    for n in range(5):
        rig.state.print_line(machine.external_id, f"line {n}")
    assert rig.provider.logs(machine.external_id, tail=2) == "line 3\nline 4"


@pytest.mark.fault(17)
def test_a_container_that_printed_nothing_shows_what_its_host_says(rig: Rig) -> None:
    machine = rig.create()
    rig.state.print_line(machine.external_id, "pull access denied", source="system")
    assert rig.provider.logs(machine.external_id).endswith("pull access denied")


@pytest.mark.fault(68)
def test_logs_carry_no_control_characters_and_no_credentials(rig: Rig) -> None:
    machine = rig.running()
    rig.state.print_line(
        machine.external_id, "\x1b[2Jconnect redis://u:s3cretpassword@h/0\x07 <b>\x00"
    )
    text = rig.provider.logs(machine.external_id)
    assert text == " [2Jconnect redis://***@h/0  <b> "


def test_frames_that_are_cut_off_or_no_log_are_left_out(rig: Rig) -> None:
    machine = rig.running()
    text = 'data: {"line": "one"}\n\n: ping\n\nevent: x\ndata: 7\n\ndata: {"line": "tw'
    rig.server.faults.answer("GET", r".*/logs", Reply(text=text, content_type="text/event-stream"))
    assert rig.provider.logs(machine.external_id) == "one"


def test_the_balance_is_what_is_left(rig: Rig) -> None:
    rig.state.balance_usd = Decimal("41.27")
    assert rig.provider.balance() == Decimal("41.27")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(json={"errors": [{"message": "denied"}], "data": None}),
        Reply(json={"errors": [{"message": "denied"}], "data": {"myself": {"clientBalance": 5}}}),
        Reply(json={"data": {"myself": None}}),
        Reply(json={"data": {"myself": {"clientBalance": None}}}),
        Reply(json={"data": {"myself": {"clientBalance": "many"}}}),
        Reply(json=[]),
        Reply(status=403, json={"message": "denied"}),
        Reply(status=410, json={"message": "retired"}),
    ],
)
def test_a_balance_that_cannot_be_told_is_unknown_and_not_zero(rig: Rig, reply: Reply) -> None:
    rig.server.faults.answer("POST", "/graphql", reply)
    assert rig.provider.balance() is None
