"""The ledger as FOCUS 1.2: every column that the specification demands, and the ledger's own sums."""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from fleet.money import focus, ledger
from pods import lifecycle
from pods.emulators.base import SteppedClock
from pods.models import Pod
from pods.states import LOST, READY
from tests.support.factories import NOON, a_fleet, a_pod, an_account

pytestmark = pytest.mark.django_db
HOUR = 3600
TODAY = NOON.date()
TOMORROW = TODAY + timedelta(days=1)
# Of the feature level "Mandatory" in FOCUS 1.2.
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory",
    "ServiceName",
}  # fmt: skip


@pytest.fixture(autouse=True)
def pods(time: SteppedClock) -> None:
    """Two pods, of which one bills over midnight and the other one has ended."""
    one = a_fleet(name="one", accounts=[an_account("runpod", name="work")])
    two = a_fleet(name="two")
    spot = a_pod(
        one, READY, hourly_usd=Decimal("0.1"), gpu_type="RTX 4090", gpu_count=2, region="EU-NL-1",
        interruptible=True, external_id="rp-1",
    )  # fmt: skip
    ended = a_pod(two, READY, hourly_usd=Decimal("0.333333"), external_id=None)
    time.advance(HOUR)
    lifecycle.move(Pod.objects.get(pk=ended.pk), LOST, by="test", because="gone")
    time.advance(12 * HOUR)
    assert spot.fleet == one


def written(*words: str) -> list[dict[str, str]]:
    out = io.StringIO()
    call_command("costs", "--from", str(TODAY), "--to", str(TOMORROW), *words, stdout=out)
    return list(csv.DictReader(io.StringIO(out.getvalue())))


def test_each_pod_has_a_row_for_each_day_with_every_column_of_focus() -> None:
    rows = written()
    assert set(rows[0]) >= MANDATORY
    assert all(name in focus.COLUMNS or name.startswith("x_") for name in rows[0])
    assert [(r["x_Fleet"], r["ChargePeriodStart"], r["BilledCost"]) for r in rows] == [
        ("one", "2026-11-23T12:00:00Z", "1.200000"),
        ("one", "2026-11-24T00:00:00Z", "0.100000"),
        ("two", "2026-11-23T12:00:00Z", "0.333333"),
    ]
    first = rows[0]
    assert first["ChargePeriodEnd"] == "2026-11-24T00:00:00Z"
    assert first["PricingQuantity"] == first["ConsumedQuantity"] == "12.000000000"
    assert first["BillingPeriodStart"] == "2026-11-01T00:00:00Z"
    assert first["BillingPeriodEnd"] == "2026-12-01T00:00:00Z"
    assert (first["ProviderName"], first["BillingAccountId"]) == ("RunPod", "work")
    assert (first["PricingCategory"], first["RegionId"]) == ("Dynamic", "EU-NL-1")
    assert (first["ResourceId"], first["ChargeClass"]) == ("rp-1", "")
    assert first["Tags"].startswith('{"podfleet/fleet": "one", ')
    assert (rows[2]["PricingCategory"], rows[2]["RegionId"]) == ("Standard", "")
    assert rows[2]["ResourceId"] == rows[2]["ResourceName"]  # the vendor never gave it an id


def test_the_rows_add_up_to_the_ledger_and_quantity_times_price_is_the_cost() -> None:
    rows = written()
    booked = sum(cost.usd for cost in ledger.day_costs(TODAY, TOMORROW))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == booked
    for row in rows:
        cost = Decimal(row["PricingQuantity"]) * Decimal(row["ListUnitPrice"])
        assert abs(cost - Decimal(row["ListCost"])) < Decimal("0.000001")


def test_the_costs_of_one_fleet_or_of_some_days_are_a_part() -> None:
    assert {row["x_Fleet"] for row in written("--fleet", "two")} == {"two"}
    assert len(written("--from", str(TOMORROW))) == 1
    assert written("--from", "2020-01-01", "--to", "2020-01-31") == []


@pytest.mark.one_database
def test_parquet_has_the_same_rows_with_types(tmp_path: Path) -> None:
    path = tmp_path / "costs.parquet"
    days = ["--from", str(TODAY), "--to", str(TOMORROW)]
    call_command("costs", *days, "--out", str(path), stderr=io.StringIO())
    table = pq.read_table(path)
    assert table.schema.equals(focus.SCHEMA)
    rows: list[dict[str, Any]] = table.to_pylist()
    assert [str(row["BilledCost"]) for row in rows] == [row["BilledCost"] for row in written()]
    assert rows[0]["ChargePeriodStart"] == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert [p.name for p in tmp_path.iterdir()] == ["costs.parquet"]


@pytest.mark.one_database
def test_a_csv_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    err = io.StringIO()
    days = ["--from", str(TODAY), "--to", str(TOMORROW)]
    call_command("costs", *days, "--out", str(path), stderr=err)
    assert err.getvalue() == f"{path}: 3 rows, 2026-11-23 to 2026-11-24\n"
    assert path.read_text().count("\n") == 4
    with pytest.raises(CommandError, match="No such file or directory"):
        call_command("costs", "--out", str(tmp_path / "none" / "costs.csv"))


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--from", "yesterday"], "'yesterday' is not a day; write it as 2026-11-30"),
        (["--from", "2026-12-01", "--to", "2026-11-01"], "--from 2026-12-01 is after --to"),
        (["--fleet", "none"], "no fleet 'none'; known: one, two"),
        (["--out", "costs.xlsx"], "give a name that ends in .csv or .parquet"),
    ],
)
def test_bad_input_is_named(words: list[str], says: str) -> None:
    with pytest.raises(CommandError) as raised:
        call_command("costs", *words)
    assert says in str(raised.value)
