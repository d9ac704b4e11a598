"""Translates Vast.ai's words for instances into ours. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final

from pods.catalogue import gpus, regions
from pods.machine_names import token_of
from pods.providers.base import Machine, Phase
from pods.providers.errors import Unavailable
from pods.providers.vastai.refusals import tidy

Row = Mapping[str, Any]
# The console has no address for a single instance.
CONSOLE: Final = "https://cloud.vast.ai/instances/"
MICRO: Final = Decimal("0.000001")
# Vast.ai takes no bid above 128 USD/h, so an amount far above that is not a price.
MOST_USD: Final = Decimal(10_000)

# vastai.md §4: texts of a boot that will never succeed (dstack's client, Vast.ai's guides).
# Those that mean a registry that refuses the login, or wants one; the last two are Docker's own words.
LOGIN_REFUSED: Final = (
    "pull access denied",
    "unauthorized: ",
    "no basic auth credentials",
)
BOOT_FAILURES: Final = (
    *LOGIN_REFUSED,
    "manifest unknown",
    ": OCI runtime create failed:",
)
BOOTING: Final[frozenset[str | None]] = frozenset(
    {None, "created", "loading", "rebooting", "recycling", "stopped"}
)
# The instance should run and its contract runs, but it does not: it never will [D, guides].
DEAD: Final = frozenset({"exited", "unknown", "offline"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the four state fields of an instance mean together."""

    phase: Phase
    because: str = ""
    login_refused: bool = False


def read_state(row: Row) -> Reading:
    """The phase of an instance, by the table of vastai.md §4.

    `unloaded` is FAILED and not GONE: the row still exists, and only a complete list without it
    proves that it is gone. Null means provisioning. A missing field is UNKNOWN, because then
    Vast.ai has changed its answer.
    """
    fields = ("intended_status", "cur_state", "actual_status")
    if any(name not in row for name in fields):
        return Reading(phase=Phase.UNKNOWN, because="the answer lacks its state fields")
    intended, current, actual = (_word(row[name]) for name in fields)
    match intended, current:
        case _, "unloaded":
            return Reading(phase=Phase.FAILED, because="released by the provider")
        case "running", "running":
            return _read_running(row, actual)
        case "running", "stopped":
            because = "waits for its GPU, which somebody else may have; it may start hours later"
            return Reading(phase=Phase.BOOTING, because=because)
        case "stopped", ("running" | "stopped"):
            return _read_stopped(row, current)
    return Reading(phase=Phase.UNKNOWN, because=_why_unknown(row))


def _read_stopped(row: Row, current: str) -> Reading:
    if current == "running":
        return Reading(phase=Phase.STOPPING, because=status_message(row))
    if row.get("is_bid"):
        return Reading(
            phase=Phase.STOPPED,
            because="stopped by us, or outbid (then it comes back by itself), or out of credit",
        )
    return Reading(
        phase=Phase.STOPPED, because="stopped by us, by the contract's end, or out of credit"
    )


def _read_running(row: Row, actual: str | None) -> Reading:
    said = status_message(row)
    if actual == "running":
        if _word(row.get("next_state")) == "stopped":
            return Reading(phase=Phase.STOPPING, because="its scheduler stops it next")
        return Reading(phase=Phase.RUNNING, because=said)
    if actual in BOOTING:
        text = str(row.get("status_msg"))
        failed = any(words in text for words in BOOT_FAILURES)
        refused = any(words in text for words in LOGIN_REFUSED)
        phase = Phase.FAILED if failed else Phase.BOOTING
        return Reading(phase=phase, because=said, login_refused=refused)
    if actual in DEAD:
        return Reading(phase=Phase.FAILED, because=f"{actual}: {said}" if said else str(actual))
    return Reading(phase=Phase.UNKNOWN, because=_why_unknown(row))


def _why_unknown(row: Row) -> str:
    names = ("intended_status", "cur_state", "actual_status")
    if any(_word(row.get(name)) == "frozen" for name in names):
        return "frozen: paused, and its GPU bills"
    return status_message(row) or "a state that Podfleet does not know"


def machine_of(row: Row) -> Machine:
    """One row of a list, or of a single answer, as a machine.

    `hourly_usd` is the price while it runs, disk included, also when the instance is stopped.

    Raises:
        Unavailable: the row has no id, so it cannot be a machine.
    """
    external_id = instance_id(row.get("id"))
    if external_id is None:
        raise Unavailable("Vast.ai answered a row without an id")
    reading = read_state(row)
    name, usd = tidy(row.get("label")), price(row.get("dph_total"))
    disk_usd = price(row.get("storage_total_cost"))
    return Machine(
        external_id=external_id,
        token=token_of(name),
        name=name,
        phase=reading.phase,
        raw_status=_raw_status(row),
        hourly_usd=None if usd is None else hourly(usd),
        stopped_hourly_usd=None if disk_usd is None else hourly(disk_usd),
        created_at=moment(row.get("start_date")),
        gpu_type=gpus.named(tidy(row.get("gpu_name"))),
        gpu_count=_whole(row.get("num_gpus")),
        region=country_of(row.get("geolocation")),
        host=str(row["machine_id"]) if row.get("machine_id") is not None else "",
        interruptible=bool(row.get("is_bid")),
        because=reading.because,
        login_refused=reading.login_refused,
        console_url=CONSOLE,
    )


def instance_id(value: Any) -> str | None:
    """An id as text. None for a value that is not an id (a bool is an int in Python)."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return None
    return str(value)


def number(value: Any) -> Decimal | None:
    """A number, which may be negative. None for a value that is not a number."""
    try:
        result = Decimal(str(value))  # no text of a bool, of null or of a list is a number
    except InvalidOperation:
        return None
    return result if result.is_finite() else None


def amount(value: Any) -> Decimal | None:
    """A price or a size. None for a value that is not a number of 0 or more."""
    result = number(value)
    return result if result is not None and result >= 0 else None


def hourly(value: Decimal) -> Decimal:
    """A price in whole micro-dollars, so that our sum equals Vast.ai's binary fraction."""
    return value.quantize(MICRO, rounding=ROUND_HALF_UP)


def _whole(value: Any) -> int | None:
    """A number of things. None for a value that is not one."""
    found = amount(value)
    return int(found) if found is not None and found == int(found) else None


def price(value: Any) -> Decimal | None:
    """A price in USD, per hour or per GB and month. None for a value that is not a price."""
    usd = amount(value)
    return usd if usd is not None and usd <= MOST_USD else None


def moment(value: Any) -> datetime | None:
    """Seconds since 1970 as a time. None for a value that is not a time."""
    seconds = amount(value)
    if not seconds or seconds > 10**11:
        return None
    return datetime.fromtimestamp(float(seconds), UTC)


def country_of(geolocation: Any) -> str:
    """The country in `"City, CC"`, which may also be `", US"` or null. Else the text itself."""
    text = tidy(geolocation)
    return regions.country_of(text) or text


def status_message(row: Row) -> str:
    """Vast.ai's sentence about an instance, in one line."""
    return tidy(row.get("status_msg"))


def _word(value: Any) -> str | None:
    """A state word, or None for null. Vast.ai's strings may have spaces and newlines around it."""
    return None if value is None else str(value).strip().lower()


def _raw_status(row: Row) -> str:
    names = ("intended_status", "cur_state", "next_state", "actual_status")
    return "/".join(tidy(row.get(name)) or "null" for name in names)[:120]
