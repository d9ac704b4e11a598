"""The ledger as FOCUS 1.2 has it: FinOps tools read the costs of pods beside those of clouds.

The columns and their allowed values are those of the FinOps Open Cost and Usage Specification 1.2
(https://focus.finops.org/focus-specification/v1-2/). Columns of our own begin with `x_`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.models import Fleet
from fleet.money import ledger
from pods.base.csv import csv_lines
from pods.models import MICROS
from pods.price import HOUR_SECONDS, exact_seconds
from pods.providers import registry

HOURS: Final = "Hours"
BATCH_ROWS: Final = 10_000
FIELDS: Final = (
    "pod__account__name", "pod__provider", "pod__external_id", "pod__name", "pod__gpu_type",
    "pod__gpu_count", "pod__region", "pod__interruptible", "fleet__name", "fleet__created_by",
    "fleet__tags",
)  # fmt: skip
MONEY: Final = pa.decimal128(18, 6)
AMOUNT: Final = pa.decimal128(24, 9)
TIME: Final = pa.timestamp("us", tz="UTC")


class _Of(NamedTuple):
    """The fields of a segment, in the order of FIELDS."""

    account: str
    provider: str
    external_id: str | None
    pod: str
    gpu_type: str
    gpu_count: int
    region: str
    interruptible: bool
    fleet: str
    user: str
    tags: Mapping[str, str]


class _Charge(NamedTuple):
    """What the columns are made of."""

    part: ledger.DayPart
    of: _Of
    issuer: str

    @property
    def usd(self) -> Decimal:
        return (Decimal(self.part.micros) / MICROS).quantize(Decimal("0.000001"))

    @property
    def hours(self) -> Decimal:
        seconds = exact_seconds(self.part.until - self.part.since)
        return (seconds / HOUR_SECONDS).quantize(Decimal("0.000000001"))


def _month(moment: datetime) -> datetime:
    """The beginning of a moment's month, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _words(charge: _Charge) -> str:
    gpus = f"{charge.of.gpu_count} × {charge.of.gpu_type}" if charge.of.gpu_type else "no GPU"
    kind = "interruptible" if charge.of.interruptible else "on demand"
    return f"pod {charge.of.pod} ({gpus}, {kind}) at {charge.part.hourly_usd} USD/h"


def _tags(charge: _Charge) -> str:
    """The fleet's tags as they are now, and what we know: our own keys begin with `podfleet/`."""
    of = charge.of
    ours = {"podfleet/fleet": of.fleet, "podfleet/pod": of.pod, "podfleet/user": of.user}
    return json.dumps({**of.tags, **{key: value for key, value in ours.items() if value}})


Value = Callable[[_Charge], Any]
COLUMNS: Final[Mapping[str, tuple[pa.DataType, Value]]] = {
    "BilledCost": (MONEY, lambda c: c.usd),
    "BillingAccountId": (pa.string(), lambda c: c.of.account),
    "BillingAccountName": (pa.string(), lambda c: c.of.account),
    "BillingCurrency": (pa.string(), lambda _: "USD"),
    "BillingPeriodEnd": (TIME, lambda c: _month(_month(c.part.since) + timedelta(days=32))),
    "BillingPeriodStart": (TIME, lambda c: _month(c.part.since)),
    "ChargeCategory": (pa.string(), lambda _: "Usage"),
    "ChargeClass": (pa.string(), lambda _: None),  # no row corrects an earlier month
    "ChargeDescription": (pa.string(), _words),
    "ChargeFrequency": (pa.string(), lambda _: "Usage-Based"),
    "ChargePeriodEnd": (TIME, lambda c: c.part.until),
    "ChargePeriodStart": (TIME, lambda c: c.part.since),
    "ConsumedQuantity": (AMOUNT, lambda c: c.hours),
    "ConsumedUnit": (pa.string(), lambda _: HOURS),
    "ContractedCost": (MONEY, lambda c: c.usd),
    "ContractedUnitPrice": (MONEY, lambda c: c.part.hourly_usd),
    "EffectiveCost": (MONEY, lambda c: c.usd),
    "InvoiceIssuerName": (pa.string(), lambda c: c.issuer),
    "ListCost": (MONEY, lambda c: c.usd),
    "ListUnitPrice": (MONEY, lambda c: c.part.hourly_usd),
    "PricingCategory": (
        pa.string(), lambda c: "Dynamic" if c.of.interruptible else "Standard",
    ),
    "PricingQuantity": (AMOUNT, lambda c: c.hours),
    "PricingUnit": (pa.string(), lambda _: HOURS),
    "ProviderName": (pa.string(), lambda c: c.issuer),
    "PublisherName": (pa.string(), lambda c: c.issuer),
    "RegionId": (pa.string(), lambda c: c.of.region or None),
    "RegionName": (pa.string(), lambda c: c.of.region or None),
    "ResourceId": (pa.string(), lambda c: c.of.external_id or c.of.pod),
    "ResourceName": (pa.string(), lambda c: c.of.pod),
    "ResourceType": (pa.string(), lambda _: "GPU pod"),
    "ServiceCategory": (pa.string(), lambda _: "Compute"),
    "ServiceName": (pa.string(), lambda _: "GPU pods"),
    "ServiceSubcategory": (pa.string(), lambda _: "Virtual Machines"),
    "Tags": (pa.string(), _tags),
    "x_Fleet": (pa.string(), lambda c: c.of.fleet),
    "x_GpuCount": (pa.int64(), lambda c: c.of.gpu_count),
    "x_GpuType": (pa.string(), lambda c: c.of.gpu_type or None),
}  # fmt: skip
SCHEMA: Final = pa.schema([(name, kind) for name, (kind, _) in COLUMNS.items()])


def rows(first: date, last: date, fleet: Fleet | None = None) -> Iterator[list[Any]]:
    """A row for each pod, price and UTC day of these days; of one fleet, if it is given.

    What a pod costs that still bills is counted until now, and grows.
    """
    only = {} if fleet is None else {"fleet": fleet}
    for part in ledger.day_parts(first, last, *FIELDS, **only):
        of = _Of(*part.of)
        charge = _Charge(part, of, registry.title(of.provider))
        yield [value(charge) for _, value in COLUMNS.values()]


def as_csv(found: Iterator[list[Any]]) -> Iterator[str]:
    """The rows as lines of CSV. Nothing is an empty cell; times are ISO 8601 in UTC."""
    return csv_lines(list(COLUMNS), ([_cell(value) for value in row] for row in found))


def write_csv(found: Iterator[list[Any]], path: Path) -> int:
    """Write the rows into a CSV file that appears under its name when it is whole; how many.

    Raises:
        OSError: it cannot be written.
    """
    lines = 0
    with _whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        for line in as_csv(found):
            file.write(line)
            lines += 1
    return lines - 1  # without the names


def write_parquet(found: Iterator[list[Any]], path: Path) -> int:
    """Write the rows into a Parquet file. The rest is as for `write_csv`."""
    count = 0
    with _whole(path) as part, pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        while batch := list(islice(found, BATCH_ROWS)):
            columns = [
                pa.array(column, field.type)
                for column, field in zip(zip(*batch, strict=True), SCHEMA, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))
            count += len(batch)
    return count


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file to write into, which gets this name at the end, unless an error comes first."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{value:f}" if isinstance(value, Decimal) else value
