"""Odd texts in vendors' answers and machines' names, and the search for secrets in our rows."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

from fleet.models import Alert, Tick
from pods.agent_redis import redis_users
from pods.models import Account, Orphan, Pod, PodEvent

ODD: Final = (
    "\0",
    "\ud800",
    "a\0b\udfff",
    "²³",
    "٣",
    "",
    "x" * 400,
    "\x1b[31m<script>alert(1)</script>",
    "%s {0} \\u0000",
)
# The ends of names that somebody gave to machines under our tag; the fleet 999 does not exist.
ODD_ENDS: Final = ("999-{0}", "²-{0}", "{1}-{0}²", "{1}-²", "{1}-\0", "{1}-\ud800", "{1}", "{1}-")
LONG_END: Final = "{1}-" + "x" * 90
# What a vendor's row is, and not what it says: without them it is not this machine's row.
KEPT: Final = frozenset(
    {"id", "name", "label", "hasNextPage", "nextCursor", "next_token", "success", "new_contract"}
)
# The rows and columns in which a text of a vendor or of an agent ends up.
TEXTS: Final = (
    (Account, ("last_error",)),
    (Pod, ("because", "note", "retire_because", "lost_because", "host", "region", "gpu_type")),
    (PodEvent, ("because",)),
    (Orphan, ("name", "outcome")),
    (Alert, ("text",)),
    (Tick, ("sentence",)),
)


def odd_name(tag: str, fleet_id: int, random: Random) -> str:
    """A name that begins with the installation's tag and is not one of a pod."""
    end = random.choice((*ODD_ENDS, LONG_END))
    return f"{tag}-" + end.format(f"{random.getrandbits(128):032x}", fleet_id)


def with_odd_texts(value: Any, random: Random) -> Any:
    """The JSON with an odd text in place of some of its texts, and without some of its prices."""
    if isinstance(value, dict):
        return {
            key: part if key in KEPT else _changed(key, part, random) for key, part in value.items()
        }
    if isinstance(value, list):
        return [with_odd_texts(part, random) for part in value]
    return value


def _changed(key: str, value: Any, random: Random) -> Any:
    if isinstance(value, str) and random.random() < 0.2:
        return random.choice(ODD)
    if key in {"cost", "dph_total"} and random.random() < 0.1:
        return None
    return with_odd_texts(value, random)


def secrets_in_rows(keys: Sequence[str]) -> Iterator[str]:
    """Where one of our texts contains a vendor's key or a pod's password for Redis (S13)."""
    secrets = [*keys, *(p for pod in Pod.objects.all() for p in redis_users._passwords(pod))]
    for model, columns in TEXTS:
        for row in model._default_manager.values_list("pk", *columns):
            for column, text in zip(columns, row[1:], strict=True):
                if any(secret in (text or "") for secret in secrets):
                    yield f"{model.__name__} {row[0]}: {column}"
