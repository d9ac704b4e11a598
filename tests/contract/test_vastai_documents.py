"""The emulator, compared with Vast.ai's OpenAPI files, where they are available, and its client."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.vastai import VENDOR_LIMITS
from pods.providers.base import OfferQuery
from pods.providers.errors import NotFound, QuotaExceeded, Refused
from pods.providers.vastai import market
from tests.support.rigs.vastai_rig import A_WHILE, BIDS, KEY, TAG, Rig, vast
from tests.support.vastai_checks import DEVIATIONS, OwnSchemas, VendorSpec

vastai_sdk = pytest.importorskip("vastai", reason="the vendor's client is a test extra")

FILES = {
    "create": "create_instance",
    "status": "show_instance",
    "list": "show_instances",
    "manage": "manage_instance",
    "destroy": "destroy_instance",
    "bid": "change_bid",
}


@pytest.fixture
def rig() -> Iterator[Rig]:
    with vast() as rig:
        yield rig


@pytest.fixture
def spec(rig: Rig) -> VendorSpec:
    if rig.spec_check is None:
        pytest.skip("the vendor's OpenAPI files are not here; name their folder in PODFLEET_SPECS")
    return rig.spec_check


def a_whole_life(rig: Rig) -> None:
    """Every call of the adapter and each usual refusal, once."""
    wide = OfferQuery(gpu_types=["RTX 4090"], min_vram_gb=8, regions=["CA"], min_reliability=0.5)
    offer = rig.provider.offers(wide)[-1]
    machine = rig.running("t1", offer=rig.offer(BIDS))
    rig.provider.list_tagged(TAG)
    rig.provider.logs(machine.external_id)
    rig.provider.balance()
    rig.provider.stop(machine.external_id)
    rig.clock.advance(A_WHILE)
    rig.provider.start(machine.external_id)
    rig.emulator.quirks.unfunded = "insufficient_credit"
    with pytest.raises(QuotaExceeded):
        rig.create("t2", offer=offer)
    rig.emulator.quirks.unfunded = ""
    rig.emulator.keys = {"another"}
    with pytest.raises(Exception, match="auth_error"):
        rig.provider.stop(machine.external_id)
    with pytest.raises(Exception, match="auth_error"):
        rig.provider.list_tagged(TAG)
    rig.emulator.keys = None
    rig.provider.destroy(machine.external_id)
    rig.clock.advance(A_WHILE)
    rig.provider.destroy(machine.external_id)
    with pytest.raises(NotFound):
        rig.provider.status(machine.external_id)


def test_each_known_error_of_the_vendors_document_is_still_one(rig: Rig, spec: VendorSpec) -> None:
    a_whole_life(rig)
    assert spec.met == set(DEVIATIONS)


def test_every_call_of_the_adapter_is_held_against_the_vendors_document(
    rig: Rig, spec: VendorSpec
) -> None:
    a_whole_life(rig)
    operations = {name for name, part in spec.checked if part == "request"}
    assert operations == {*FILES.values(), "search_offers", "logs", "show_user"} - {"change_bid"}
    assert operations == {name for name, part in spec.checked if part == "reply 200"}


def test_an_exchange_that_the_vendor_does_not_know_is_a_complaint(
    rig: Rig, spec: VendorSpec
) -> None:
    rig.server.checks.remove(next(c for c in rig.server.checks if isinstance(c, OwnSchemas)))
    rig.emulator.market.add_slot(gpu_name=7)  # type: ignore[arg-type]
    machine = rig.create(offer=rig.offer())
    rig.contract(machine).image = 7  # type: ignore[assignment]
    rig.provider.status(machine.external_id)
    assert "image_uuid" in rig.server.complaints.pop()
    assert rig.server.complaints == []


def test_an_answer_that_our_schemas_do_not_know_is_a_complaint(rig: Rig) -> None:
    rig.server.checks[:] = [OwnSchemas()]
    machine = rig.running()
    rig.contract(machine).following = "elsewhere"
    rig.provider.status(machine.external_id)
    assert "elsewhere" in rig.server.complaints.pop()
    rig.provider.offers(OfferQuery(gpu_types=[""], interruptible=False))
    assert "does not match" in rig.server.complaints.pop()
    assert rig.server.complaints == []


def test_the_emulated_rate_limits_are_those_of_the_vendors_files(
    rig: Rig, spec: VendorSpec
) -> None:
    for endpoint, name in FILES.items():
        assert VENDOR_LIMITS[endpoint] == (1, spec.raw(name)["x-rate-limit"]["threshold"])
    search = spec.raw("search_offers")["x-rate-limit"]
    assert VENDOR_LIMITS["search"] == (search["requests"], 60.0)
    assert search["per"] == "minute"


def test_the_adapters_bounds_are_those_of_the_vendors_files(rig: Rig, spec: VendorSpec) -> None:
    bounds = spec.raw("create_instance")["x-input-validation"]
    assert bounds["image"]["max_length"] == market.LONGEST_IMAGE
    assert bounds["label"]["max_length"] == market.LONGEST_LABEL
    assert bounds["env"]["max_length"] == market.LONGEST_ENV_ITEM
    assert bounds["env"]["max_total_length"] == market.LONGEST_ENV
    assert bounds["disk"]["min"] == market.MIN_DISK_GB
    assert Decimal(str(bounds["price"]["min"])) == market.MIN_BID
    assert Decimal(str(bounds["price"]["max"])) == market.MAX_BID


# Vast.ai's own client.


@pytest.fixture
def client(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Vast.ai's client on the emulator. Its requests differ from ours, so only answers are checked."""
    rig.server.checks[:] = [OwnSchemas(requests=False)]
    rig.emulator.quirks.log_refusals = 0
    monkeypatch.setattr("vastai.api.instances.time.sleep", lambda _: None)
    return vastai_sdk.VastAI(api_key=KEY, server_url=rig.server.url)


def test_the_vendors_client_works_on_the_emulator_from_search_to_destroy(
    rig: Rig, client: Any
) -> None:
    offers = client.search_offers(query="gpu_name=RTX_4090 num_gpus=1 rented=False", storage=20)
    assert [o["gpu_name"] for o in offers] == ["RTX 4090"] * 3
    made = client.create_instance(
        id=offers[-1]["id"],
        image="registry.example/worker:1",
        disk=20,
        env="-e A=b -p 22:22",
        label=f"{TAG}-sdk",
        args=["--once"],
        cancel_unavail=True,
    )
    assert made["success"]
    number = made["new_contract"]
    rig.clock.advance(A_WHILE)
    (row,) = client.show_instances()
    assert (row["id"], row["label"], row["actual_status"]) == (number, f"{TAG}-sdk", "running")
    assert row["extra_env"] == {"A": "b", "-p 22:22": "1"}
    assert "says hello" in client.logs(instance_id=number, tail="10")
    assert client.stop_instance(id=number)["success"]
    rig.clock.advance(A_WHILE)
    assert client.show_instance(id=number)["cur_state"] == "stopped"
    assert client.start_instance(id=number)["success"]
    rig.clock.advance(A_WHILE)
    assert client.show_instance(id=number)["actual_status"] == "running"
    assert client.destroy_instance(id=number)["success"]
    rig.clock.advance(A_WHILE)
    assert client.show_instances() == []
    assert client.show_instance(id=number) is None


def test_the_vendors_client_and_the_adapter_see_the_same_machines(rig: Rig, client: Any) -> None:
    machine = rig.running("t1", offer=rig.offer(BIDS))
    (row,) = client.show_instances()
    assert str(row["id"]) == machine.external_id
    assert row["label"] == machine.name
    assert row["is_bid"] is machine.interruptible is True
    client.change_bid(id=row["id"], price=0.25)
    assert rig.contract(machine).bid == Decimal("0.25")
    client.label_instance(id=row["id"], label="mine")
    assert rig.tokens() == []
    client.destroy_instance(id=row["id"])
    rig.clock.advance(A_WHILE)
    with pytest.raises(NotFound):
        rig.provider.status(machine.external_id)


def test_the_vendors_client_reads_all_pages_of_the_emulated_list(rig: Rig, client: Any) -> None:
    for number in range(30):
        rig.emulator.market.add_slot(usd="0.1")
        rig.create(f"t{number}")
    assert len(client.show_instances()) == 30


def test_the_vendors_client_finds_bids_and_rents_at_one(rig: Rig, client: Any) -> None:
    offer = client.search_offers(query="", type="bid", order="dph_total", storage=20)[0]
    made = client.create_instance(
        id=offer["id"], image="i:1", disk=20, bid_price=0.5, ssh=True, cancel_unavail=True
    )
    assert rig.emulator.market.contracts[made["new_contract"]].bid == Decimal("0.5")


def test_a_too_small_disk_is_refused_by_the_emulator_as_by_the_vendor(
    rig: Rig, client: Any
) -> None:
    offer = client.search_offers(query="", storage=20)[0]
    with pytest.raises(Exception, match="400"):
        client.create_instance(id=offer["id"], image="i:1", disk=2)


def test_the_adapter_refuses_nothing_that_it_would_have_asked(rig: Rig) -> None:
    with pytest.raises(Refused):
        rig.create(image="")
    assert rig.server.calls("PUT") == 0
