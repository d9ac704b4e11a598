"""A snapshot and a policy as JSON and back, so that a decision can be replayed."""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from fleet.decision.values import Policy, Snapshot

# Above this number the pods and offers are packed: 10,000 pods take 20 kB instead of 2 MB.
PLAIN_ROWS: Final = 100
ROWS: Final = ("pods", "offers")
_SNAPSHOT: Final = TypeAdapter(Snapshot)
_POLICY: Final = TypeAdapter(Policy)
_DEFAULTS: Final = {f.name: f.default for f in fields(Policy)}


def recorded(seen: Snapshot) -> dict[str, Any]:
    """The snapshot as JSON values: money as text, durations in seconds."""
    raw: dict[str, Any] = to_jsonable_python(seen, timedelta_mode="float")
    if len(seen.pods) + len(seen.offers) > PLAIN_ROWS:
        rows = json.dumps({name: raw.pop(name) for name in ROWS})
        raw["packed"] = base64.b85encode(zlib.compress(rows.encode())).decode()
    return raw


def replayed(raw: Mapping[str, Any]) -> Snapshot:
    """The snapshot that `recorded` wrote. Fields that this version does not know are ignored.

    Raises:
        ValueError: it is not the record of a snapshot.
    """
    values = dict(raw)
    if "packed" in values:
        values.update(json.loads(zlib.decompress(base64.b85decode(values.pop("packed")))))
    return _SNAPSHOT.validate_python(
        {**values, **{name: tuple(values.get(name, ())) for name in (*ROWS, "lacks")}}
    )


def recorded_policy(policy: Policy) -> dict[str, Any]:
    """The policy as JSON values, without the fields that have their defaults."""
    own = {n: value for n in _DEFAULTS if (value := getattr(policy, n)) != _DEFAULTS[n]}
    raw: dict[str, Any] = to_jsonable_python(own, timedelta_mode="float")
    return raw


def replayed_policy(raw: Mapping[str, Any]) -> Policy:
    """The policy that `recorded_policy` wrote.

    Raises:
        ValueError: it is not the record of a policy.
    """
    return _POLICY.validate_python(dict(raw))
