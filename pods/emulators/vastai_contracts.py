"""The parts of Vast.ai's market: slots of machines, contracts, and refusals."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

HOURS_A_MONTH: Final = 720


@dataclass(slots=True, kw_only=True)
class Pace:
    """How long each step of an instance takes."""

    provisioning: timedelta = timedelta(seconds=2)
    loading: timedelta = timedelta(seconds=5)
    creating: timedelta = timedelta(seconds=1)
    stopping: timedelta = timedelta(seconds=2)
    leaving: timedelta = timedelta(seconds=5)  # for how long a destroyed row is still shown
    list_lag: timedelta = timedelta(0)  # for how long the list lacks a new row
    status_lag: timedelta = timedelta(0)  # for how long the single GET lacks it


@dataclass(slots=True, kw_only=True)
class Slot:
    """A slice of a host's machine, which one offer at a time rents out."""

    ask_id: int
    machine_id: int
    host_id: int
    gpu_name: str
    gpu_usd: Decimal  # USD/h of all its GPUs, without disk
    min_bid: Decimal
    num_gpus: int = 1
    gpu_ram: int = 24_564
    storage_usd: Decimal = Decimal("0.15")  # per GB and month
    disk_space: float = 500.0
    geolocation: str | None = "Quebec, CA"
    reliability: float = 0.9971
    verification: str = "verified"
    cuda: float = 12.8
    ends_at: datetime
    listed: bool = True
    rented_out: bool = False  # somebody else has it on demand, and no bid gets it back
    rival_bid: Decimal = Decimal(0)  # the highest bid of others
    contracts: "list[Contract]" = field(default_factory=list)  # our contracts that have a row

    def price_to_beat(self) -> Decimal:
        """The price that a bid must reach."""
        return max(self.min_bid, self.rival_bid)


@dataclass(slots=True, kw_only=True)
class Contract:
    """An instance, from its create until its row is gone."""

    id: int
    slot: Slot
    label: str
    image: str
    args: list[str]
    login: tuple[str, str] | None = None  # at the registry of the image; no answer shows it
    env: dict[str, str]
    disk: Decimal
    bid: Decimal | None
    gpu_usd: Decimal
    created_at: datetime
    key: str
    intended: str = "running"
    current: str = "stopped"
    following: str = "running"
    actual: str | None = None
    status_msg: str | None = None
    wants: bool = True  # its renter wants it to run
    holds: bool = False  # it has the GPU
    booted: bool = False
    destroyed_at: datetime | None = None
    gone: bool = False
    hidden_until: datetime | None = None  # until then no answer shows it, though it runs
    before_offline: str | None = None
    defect: str = ""  # how its boots fail: stuck, pull or oci
    generation: int = 0  # steps that were planned for an older generation do not happen
    rate: Decimal = Decimal(0)  # USD/h that is billed

    def is_hidden(self, now: datetime) -> bool:
        """Whether it runs although Vast.ai says that there is no such instance."""
        return self.hidden_until is not None and now < self.hidden_until

    def disk_usd(self) -> Decimal:
        """USD/h of its disk."""
        return self.disk * self.slot.storage_usd / HOURS_A_MONTH

    def rate_now(self) -> Decimal:
        """USD/h that it costs in its state (vastai.md §4 and §8)."""
        if self.destroyed_at is not None or self.gone or self.actual == "offline":
            return Decimal(0)
        works = self.current == "running" and self.actual in {
            "running",
            "frozen",
            "exited",
            "unknown",
            "rebooting",
        }
        return self.disk_usd() + (self.gpu_usd if works else Decimal(0))


class Refusal(Exception):
    """The market declined a request. It has the status and the body of the answer."""

    def __init__(self, status: int, error: str, msg: str, **more: Any) -> None:
        super().__init__(f"{status} {error}")
        self.status = status
        self.body = {"success": False, "error": error, "msg": msg, **more}


def gone_410(ask_id: int) -> Refusal:
    """The refusal for an offer that was taken between the search and the create."""
    return Refusal(
        410,
        "no_such_ask",
        f"error 410/3907: no_such_ask Instance type {ask_id} is no longer available.",
        ask_id=ask_id,
    )
