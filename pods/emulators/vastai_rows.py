"""Vast.ai's rows and filters: the form of offers and instances in its answers."""

import base64
import binascii
import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from pods.emulators.vastai_contracts import HOURS_A_MONTH, Contract, Refusal, Slot

Row = dict[str, Any]

OFFERS_AT_MOST: Final = 64
PAGE_AT_MOST: Final = 25
PAGE_WHEN_SILLY: Final = 5
OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, wanted: value in wanted,
    "notin": lambda value, wanted: value not in wanted,
}
NOT_FILTERS: Final = frozenset({"type", "order", "limit", "allocated_storage", "disable_bundling"})
STORED_COLUMNS: Final = frozenset(
    {"id", "label", "actual_status", "gpu_name", "verification", "machine_id", "host_id", "is_bid"}
)

# Vast.ai's form of a port. Nothing listens there.
ANYWHERE: Final = {"HostIp": "0.0.0.0", "HostPort": "41022"}  # noqa: S104


def offer_row(slot: Slot, *, bids: bool, storage: Decimal, now: datetime) -> Row:
    """A slot as a search shows it. Its price includes `storage` GB of disk."""
    disk = storage * slot.storage_usd / HOURS_A_MONTH
    gpu = slot.price_to_beat() if bids else slot.gpu_usd
    return {
        "id": slot.ask_id,
        "ask_contract_id": slot.ask_id,
        "machine_id": slot.machine_id,
        "host_id": slot.host_id,
        "gpu_name": slot.gpu_name,
        "num_gpus": slot.num_gpus,
        "gpu_ram": slot.gpu_ram,
        "gpu_frac": 0.25,
        "dph_base": gpu,
        "dph_total": gpu + disk,
        "min_bid": slot.price_to_beat(),
        "storage_cost": slot.storage_usd,
        "inet_up_cost": 0.004,
        "inet_down_cost": 0.002,
        "geolocation": slot.geolocation,
        "reliability": slot.reliability,
        "reliability2": slot.reliability,
        "verification": slot.verification,
        "external": None,
        "cuda_max_good": slot.cuda,
        "direct_port_count": 124,
        "disk_space": slot.disk_space,
        "duration": (slot.ends_at - now).total_seconds(),
        "end_date": slot.ends_at.timestamp(),
        "rentable": True,
        "rented": False,
        "is_bid": bids,
        "static_ip": True,
        "discounted_dph_total": gpu + disk,
        "search": {"gpuCostPerHour": gpu, "diskHour": disk, "totalHour": gpu + disk},
    }


def instance_row(contract: Contract) -> Row:
    """A contract as the list and the single GET show it."""
    slot, running = contract.slot, contract.actual == "running"
    return {
        "id": contract.id,
        "label": contract.label or None,
        "actual_status": contract.actual,
        "intended_status": contract.intended,
        "cur_state": contract.current,
        "next_state": contract.following,
        "status_msg": contract.status_msg,
        "machine_id": slot.machine_id,
        "host_id": slot.host_id,
        "gpu_name": slot.gpu_name,
        "num_gpus": slot.num_gpus,
        "gpu_ram": slot.gpu_ram,
        "dph_base": contract.gpu_usd,
        "dph_total": contract.gpu_usd + contract.disk_usd(),
        "instance": {"totalHour": contract.rate_now()},
        "is_bid": contract.bid is not None,
        "min_bid": slot.price_to_beat(),
        "storage_cost": slot.storage_usd,
        "storage_total_cost": contract.disk_usd(),
        "disk_space": contract.disk,
        "start_date": contract.created_at.timestamp(),
        "end_date": slot.ends_at.timestamp(),
        "geolocation": slot.geolocation,
        "verification": slot.verification,
        "image_uuid": contract.image,
        "image_runtype": "args",
        "image_args": contract.args,
        "extra_env": [[k, v] for k, v in contract.env.items()],
        "public_ipaddr": " 192.0.2.45\n" if running else "",
        "ssh_host": "ssh5.vast.ai",
        "ssh_port": 15_678,
        "ports": {"22/tcp": [ANYWHERE]} if running else None,
    }


def matching(rows: Iterable[Row], body: Mapping[str, Any], ignored: Iterable[str]) -> list[Row]:
    """The rows that fit the filters of a search, except the `ignored` filters."""
    filters = {
        field: wanted
        for field, wanted in body.items()
        if field not in NOT_FILTERS and field not in set(ignored)
    }
    for field, wanted in filters.items():
        if not isinstance(wanted, Mapping) or not set(wanted) <= set(OPERATORS):
            raise Refusal(400, "invalid_request", f"{field}: give an object of operator and value")
    return [row for row in rows if all(_fits(row, f, wanted) for f, wanted in filters.items())]


def _fits(row: Row, field: str, wanted: Mapping[str, Any]) -> bool:
    if field == "id":
        return False  # this filter matches nothing; ask_contract_id does (vastai.md §2)
    if field == "verified":
        value: Any = row["verification"] == "verified"
    elif field == "geolocation":
        value = str(row["geolocation"] or "").rpartition(",")[2].strip()
    elif field == "external":
        value = bool(row["external"])
    elif field in row:
        value = row[field]
    else:
        raise Refusal(400, "invalid_request", f"{field} is not a valid search key")
    return all(_compares(value, op, than) for op, than in wanted.items())


def _compares(value: Any, op: str, than: Any) -> bool:
    if value is None and op not in {"eq", "neq", "in", "notin"}:
        return False
    if isinstance(value, Decimal):
        value = float(value)  # as it was sent
    if isinstance(value, int | float) and isinstance(than, str):
        than = float(than)  # Vast.ai's own client sends "1"
    return OPERATORS[op](value, than)


def ordered(rows: Sequence[Row], order: Sequence[Sequence[str]]) -> list[Row]:
    """The rows in the order of the search. Our rows lack Vast.ai's field `score`."""
    result = list(rows)
    for field, direction in reversed(order):
        key = "dph_total" if field == "score" else field
        result.sort(key=lambda row, key=key: row.get(key) or 0, reverse=direction == "desc")  # type: ignore[misc]
    return result


def page_of(
    rows: Sequence[Row], query: Callable[[str], str]
) -> tuple[list[Row], str | None, list[Row]]:
    """A page of the list, the token of the next one, and all rows that match the filters."""
    found = _filtered(rows, _json_param(query("select_filters"), {}))
    descending = _descending(_json_param(query("order_by"), []))
    found.sort(key=lambda row: int(row["id"]), reverse=descending)
    limit = int(query("limit") or PAGE_AT_MOST)
    limit = PAGE_WHEN_SILLY if limit <= 0 else min(limit, PAGE_AT_MOST)
    rest = found
    if token := query("after_token"):
        after = _read_token(token)
        rest = [r for r in found if (r["id"] < after if descending else r["id"] > after)]
    page = rest[:limit]
    following = _token(page[-1]["id"]) if len(rest) > limit else None
    columns = _json_param(query("select_cols"), ["*"])
    if columns != ["*"]:
        page = [{column: row.get(column) for column in columns} for row in page]
    return page, following, found


def _filtered(rows: Sequence[Row], filters: Mapping[str, Any]) -> list[Row]:
    for column, wanted in filters.items():
        if column not in STORED_COLUMNS or not set(wanted) <= set(OPERATORS):
            raise Refusal(
                400,
                "invalid_request",
                f"Error in query parameters: {column} is not a valid search key",
            )
    return [
        row
        for row in rows
        if all(
            _compares(row[column], op, than)
            for column, wanted in filters.items()
            for op, than in wanted.items()
        )
    ]


def _descending(order: Sequence[Mapping[str, str]]) -> bool:
    if any(part.get("col") != "id" for part in order):
        raise Refusal(400, "invalid_request", "Error in query parameters: order_by")
    return bool(order) and order[0].get("dir") == "desc"


def _json_param(text: str, default: Any) -> Any:
    if not text:
        return default
    try:
        return json.loads(text)
    except ValueError:
        raise Refusal(400, "invalid_request", "Error in query parameters: no JSON") from None


def _token(last_id: int) -> str:
    return base64.b64encode(json.dumps({"values": {"id": last_id}}).encode()).decode()


def _read_token(token: str) -> int:
    try:
        return int(json.loads(base64.b64decode(token, validate=True))["values"]["id"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise Refusal(400, "invalid_token", "invalid after_token") from None
