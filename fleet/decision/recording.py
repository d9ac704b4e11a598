"""A snapshot as JSON and back, so that what was decided can be replayed. Pure."""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeVar

from fleet.decision.values import Elsewhere, OfferFacts, PodFacts, Snapshot
from pods.states import PodState

# Above that the pods and offers are packed: a row of 10,000 pods is 20 kB instead of 2 MB.
PLAIN_ROWS: Final = 100
DURATIONS: Final = frozenset(
    {"age", "idle_for", "stopped_for", "ready_for", "boot_time", "remaining", "waiting_for"}
)
MONEY_ENDS: Final = "_usd"
T = TypeVar("T")


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def recorded(seen: Snapshot) -> dict[str, Any]:
    """The snapshot as JSON-able values."""
    raw: dict[str, Any] = _plain(asdict(seen))
    if len(seen.pods) + len(seen.offers) > PLAIN_ROWS:
        rows = json.dumps({"pods": raw.pop("pods"), "offers": raw.pop("offers")})
        raw["packed"] = base64.b85encode(zlib.compress(rows.encode())).decode()
    return raw


def _typed(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in DURATIONS:
        return timedelta(seconds=value)
    if name.endswith(MONEY_ENDS):
        return Decimal(value)
    return PodState(value) if name == "state" else value


def _value(kind: type[T], raw: Mapping[str, Any]) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _typed(name, value) for name, value in raw.items() if name in known})


def replayed(raw: Mapping[str, Any]) -> Snapshot:
    """The snapshot that `recorded` wrote; fields that this version does not know are passed over."""
    values = dict(raw)
    if "packed" in values:
        values.update(json.loads(zlib.decompress(base64.b85decode(values.pop("packed")))))
    return Snapshot(
        **{
            **{
                f.name: _typed(f.name, values[f.name]) for f in fields(Snapshot) if f.name in values
            },
            "now": datetime.fromisoformat(values["now"]),
            "pods": tuple(_value(PodFacts, p) for p in values["pods"]),
            "offers": tuple(_value(OfferFacts, o) for o in values["offers"]),
            "elsewhere": _value(Elsewhere, values["elsewhere"]),
        }
    )
