"""Vast.ai's instances in our words: each row of the state table in vastai.md."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pods.providers.base import Phase
from pods.providers.errors import Unavailable
from pods.providers.vastai.mapping import (
    amount,
    country_of,
    instance_id,
    machine_of,
    moment,
    number,
    price,
    read_state,
)

OCI = "Error response from daemon: OCI runtime create failed: exec not found"


def a_row(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": 31_245_678,
        "label": "pf-7-0a1b",
        "intended_status": "running",
        "cur_state": "running",
        "next_state": "running",
        "actual_status": "running",
        "status_msg": "success, running registry.example/worker",
        "dph_total": Decimal("0.352"),
        "is_bid": False,
        "start_date": Decimal("1761008618.2"),
        "machine_id": 18_237,
        "gpu_name": "RTX 4090",
        "geolocation": "Quebec, CA",
    }
    return row | changes


STATES = [
    # intended, cur_state, next_state, actual_status, phase
    ("running", "running", "running", None, Phase.BOOTING),
    ("running", "running", "running", "created", Phase.BOOTING),
    ("running", "running", "running", "loading", Phase.BOOTING),
    ("running", "running", "running", "rebooting", Phase.BOOTING),
    ("running", "running", "running", "recycling", Phase.BOOTING),
    ("running", "running", "running", "stopped", Phase.BOOTING),  # starting again
    ("running", "running", "running", "running", Phase.RUNNING),
    ("running", "running", "stopped", "running", Phase.STOPPING),
    ("running", "stopped", "running", None, Phase.BOOTING),  # "Scheduling"
    ("running", "stopped", "running", "exited", Phase.BOOTING),
    ("running", "stopped", "stopped", "running", Phase.BOOTING),
    ("stopped", "running", "stopped", "running", Phase.STOPPING),
    ("stopped", "running", "stopped", "loading", Phase.STOPPING),
    ("stopped", "stopped", "stopped", "exited", Phase.STOPPED),
    ("stopped", "stopped", "stopped", "offline", Phase.STOPPED),
    ("stopped", "stopped", "running", None, Phase.STOPPED),
    ("running", "running", "running", "exited", Phase.FAILED),
    ("running", "running", "stopped", "unknown", Phase.FAILED),
    ("running", "running", "running", "offline", Phase.FAILED),
    ("running", "unloaded", "unloaded", "running", Phase.FAILED),
    ("stopped", "unloaded", "unloaded", None, Phase.FAILED),
    ("frozen", "running", "running", "frozen", Phase.UNKNOWN),
    ("running", "running", "running", "frozen", Phase.UNKNOWN),
    ("running", "running", "running", "hibernating", Phase.UNKNOWN),
    ("dreaming", "running", "running", "running", Phase.UNKNOWN),
    ("running", "running", "running", 7, Phase.UNKNOWN),  # only null is a boot
    ("running", "elsewhere", "running", "running", Phase.UNKNOWN),
    (" running\n", "running ", "Running", "running\n", Phase.RUNNING),
]


@pytest.mark.parametrize(("intended", "current", "following", "actual", "phase"), STATES)
def test_the_four_state_fields_are_read_together(
    intended: str, current: str, following: str, actual: object, phase: Phase
) -> None:
    row = a_row(
        intended_status=intended, cur_state=current, next_state=following, actual_status=actual
    )
    assert read_state(row).phase is phase


def test_no_state_of_an_existing_row_is_read_as_gone() -> None:
    assert Phase.GONE not in {phase for *_, phase in STATES}


@pytest.mark.parametrize("actual", ["created", "loading", None])
@pytest.mark.parametrize(
    "text", [OCI, "manifest unknown: no such tag", "Error: pull access denied for x"]
)
def test_a_boot_that_will_never_succeed_is_failed_and_says_why(
    actual: str | None, text: str
) -> None:
    reading = read_state(a_row(actual_status=actual, status_msg=text))
    assert reading.phase is Phase.FAILED
    assert reading.because == text


@pytest.mark.parametrize("missing", ["intended_status", "cur_state", "actual_status"])
def test_a_missing_state_field_is_unknown_and_not_provisioning(missing: str) -> None:
    row = a_row()
    del row[missing]
    assert read_state(row).phase is Phase.UNKNOWN


@pytest.mark.parametrize(
    ("said", "usd"),
    [(Decimal("0.0082191"), Decimal("0.008219")), (0, 0), ("x", None), (None, None)],
)
def test_a_stopped_machine_costs_the_rent_of_its_disk(said: object, usd: Decimal | None) -> None:
    assert machine_of(a_row(storage_total_cost=said)).stopped_hourly_usd == usd
    assert machine_of(a_row()).stopped_hourly_usd is None


def test_an_outbid_machine_says_that_it_comes_back() -> None:
    row = a_row(intended_status="stopped", cur_state="stopped", actual_status="exited", is_bid=True)
    assert "comes back" in read_state(row).because


def test_a_machine_carries_what_the_row_says() -> None:
    machine = machine_of(a_row())
    assert machine.external_id == "31245678"
    assert (machine.name, machine.token) == ("pf-7-0a1b", "0a1b")
    assert machine.hourly_usd == Decimal("0.352")
    assert machine.created_at == datetime(2025, 10, 21, 1, 3, 38, 200_000, tzinfo=UTC)
    assert (machine.gpu_type, machine.region, machine.host) == ("RTX 4090", "CA", "18237")
    assert machine.raw_status == "running/running/running/running"


def test_unknown_and_missing_fields_do_no_harm() -> None:
    machine = machine_of({"id": 7, "label": None, "brand_new": {"x": 1}, "dph_total": "free"})
    assert machine.phase is Phase.UNKNOWN
    assert (machine.name, machine.token, machine.hourly_usd) == ("", "", None)
    assert machine.created_at is None


@pytest.mark.parametrize("bad", [None, "31245678", 0, -1, True, Decimal("3.5"), {}])
def test_a_row_without_an_id_is_an_error(bad: Any) -> None:
    assert instance_id(bad) is None
    with pytest.raises(Unavailable):
        machine_of(a_row(id=bad))


def test_a_price_is_the_same_whether_summed_or_sent_as_a_binary_fraction() -> None:
    sent = machine_of(a_row(dph_total=Decimal("0.30416666666666664"))).hourly_usd
    assert sent == Decimal("0.304167")


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a\x1b[31mb\x00c\nd", "x" * 5000])
def test_a_vendor_text_becomes_one_line_of_bounded_length(text: str) -> None:
    machine = machine_of(a_row(status_msg=text, label=text))
    for shown in (machine.because, machine.name):
        assert len(shown) <= 300
        assert shown.isprintable()


@pytest.mark.parametrize(
    ("geolocation", "country"),
    [
        ("Quebec, CA", "CA"),
        (", US", "US"),
        (None, ""),
        ("California, United States", "US"),
        ("Atlantis, the lost city", "Atlantis, the lost city"),
        ("Bavaria,de", "DE"),
    ],
)
def test_a_country_is_found_in_every_shape_of_geolocation(
    geolocation: str | None, country: str
) -> None:
    assert country_of(geolocation) == country


@pytest.mark.parametrize(
    ("text", "refused"),
    [("pull access denied for x", True), ("manifest unknown", False), (None, False)],
)
def test_a_boot_says_whether_the_registry_refused_the_login(
    text: str | None, refused: bool
) -> None:
    reading = read_state(a_row(actual_status="loading", status_msg=text))
    assert reading.login_refused is refused
    assert reading.phase is (Phase.FAILED if text else Phase.BOOTING)
    assert read_state(a_row(status_msg=text)).phase is Phase.RUNNING


STOPPED = {"intended_status": "stopped", "cur_state": "stopped"}
ODD = "a state that Podfleet does not know"


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        (STOPPED, "stopped by us, by the contract's end, or out of credit"),
        ({"next_state": "stopped"}, "its scheduler stops it next"),
        ({"cur_state": "unloaded"}, "released by the provider"),
        ({"actual_status": "frozen", "status_msg": "so"}, "frozen: paused, and its GPU bills"),
        ({"intended_status": "frozen"}, "frozen: paused, and its GPU bills"),
        ({"cur_state": "frozen"}, "frozen: paused, and its GPU bills"),
        ({"next_state": "frozen", "actual_status": "odd", "status_msg": ""}, ODD),
        ({"actual_status": "odd", "status_msg": "so"}, "so"),
        ({"actual_status": 7, "status_msg": None}, ODD),
    ],
)
def test_a_state_says_what_it_means(changes: dict[str, Any], because: str) -> None:
    assert read_state(a_row(**changes)).because == because


def test_what_a_row_leaves_open_is_left_open() -> None:
    machine = machine_of(a_row(next_state=None, machine_id=None, dph_total=None, is_bid=None))
    assert machine.raw_status == "running/running/null/running"
    assert (machine.host, machine.hourly_usd, machine.interruptible) == ("", None, False)
    assert machine_of(a_row(is_bid=True)).interruptible


NOT_NUMBERS = (None, True, "x", "NaN", "Infinity", float("inf"), [], {})


@pytest.mark.parametrize("read", [number, amount, price, moment])
@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_not_a_number_is_unknown(read: Any, value: object) -> None:
    assert read(value) is None


def test_a_number_may_be_negative_and_neither_a_price_nor_a_time_may() -> None:
    assert [number(value) for value in (-1, "-1.5", 0.5)] == [-1, Decimal("-1.5"), Decimal("0.5")]
    assert (amount(-1), amount("0"), amount(3)) == (None, 0, 3)
    assert (price(10_000), price(10_001), price(-1)) == (10_000, None, None)
    assert (moment(-1), moment(0), moment(10**11 + 1)) == (None, None, None)
    assert moment(10**11) is not None


@pytest.mark.parametrize(("said", "count"), [(2, 2), ("2.0", 2), (2.5, None), (None, None)])
def test_a_number_of_gpus_is_whole(said: object, count: int | None) -> None:
    assert machine_of(a_row(num_gpus=said)).gpu_count == count
