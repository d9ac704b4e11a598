"""The interface of a provider and the values that cross it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol


class Phase(StrEnum):
    """Where a machine is in its life, as far as its provider says."""

    BOOTING = "booting"  # rented, its container does not run yet
    RUNNING = "running"  # its container runs; that the agent works is for the heartbeat to say
    STOPPING = "stopping"
    STOPPED = "stopped"  # nothing runs, the disk is kept and may bill
    FAILED = "failed"  # will never run again by itself
    GONE = "gone"  # the provider says that it does not exist any more
    UNKNOWN = "unknown"  # a word that we do not know: never read as gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often an endpoint of an account may be called: `burst` at once, then one each `every`."""

    every: timedelta
    burst: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can do and promises, as data: callers test a flag, never a name."""

    can_stop: bool = False
    # How long a created machine may be missing from `status` and `list_tagged`.
    list_lag: timedelta = timedelta(0)
    # How long a stale reading may show a destroyed machine, or hide a living one.
    consistency_window: timedelta = timedelta(0)
    has_balance: bool = False
    # The provider restarts a container that exits, or brings an outbid machine back unasked.
    comes_back: bool = False
    # What the vendor allows, by endpoint as the adapter names it; "*": all calls of the account.
    rates: Mapping[str, Rate] = field(default_factory=dict, hash=False)
    # How long an answer of `offers` is worth keeping: searches have quotas.
    offers_ttl: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferQuery:
    """What a fleet is willing to rent. An empty sequence or None is no restriction."""

    gpu_types: Sequence[str] = ()
    gpu_count: int = 1
    min_vram_gb: int | None = None
    regions: Sequence[str] = ()
    max_hourly_usd: Decimal | None = None
    min_reliability: float | None = None  # 0..1
    min_remaining: timedelta | None = None  # how long the offer can still be rented
    interruptible: bool | None = None  # None: both
    disk_gb: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Something that can be rented now."""

    key: str  # what `create` takes back in PodSpec.offer_key; stable while the offer lasts
    hourly_usd: Decimal  # USD/hour of the whole machine while it runs, disk included
    gpu_type: str = ""
    gpu_count: int = 0
    vram_gb: int | None = None  # of one GPU
    region: str = ""
    interruptible: bool = False
    reliability: float | None = None
    host: str = ""  # the machine behind it, where the provider names one
    remaining: timedelta | None = None
    stopped_hourly_usd: Decimal = Decimal(0)  # USD/hour while stopped
    disk_gb: int = 0  # the disk that both prices include
    gb_hourly_usd: Decimal = Decimal(0)  # USD/hour of one GB of disk, running or stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """The machine that a pod asks for."""

    name: str  # unique for each client token; [a-z0-9-], at most 60 characters; begins with `tag`
    tag: str  # what `list_tagged` finds it by: one a fleet of an installation
    offer_key: str = ""
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    disk_gb: int = 20
    gpu_count: int = 0
    interruptible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a provider says of one machine."""

    external_id: str
    token: str  # the client token it was created with; "" where the provider cannot tell
    name: str
    phase: Phase
    raw_status: str = ""  # the provider's own word, for people
    hourly_usd: Decimal | None = None  # None: the provider does not say
    created_at: datetime | None = None
    gpu_type: str = ""
    region: str = ""
    host: str = ""
    interruptible: bool = False
    because: str = ""  # why it is in this phase, where the provider says
    console_url: str = ""


class Provider(Protocol):
    """One account at one vendor or host.

    Stateless: it remembers no machine, each call names one. Every method raises ProviderError and
    nothing else.
    """

    name: str
    capabilities: Capabilities

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """What can be rented now and fits the query."""
        ...

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        """Rent a machine. Never repeated blindly: after Unavailable, look for the token first.

        Raises:
            NoCapacity, QuotaExceeded, AuthFailed, Refused: nothing was rented, but for what
                `Refused.billing_id` names.
            Unavailable: no answer; the machine may exist and bill.
        """
        ...

    def status(self, external_id: str) -> Machine:
        """What the provider says of one machine.

        Raises:
            NotFound: it is not known there (or not yet, within `list_lag`).
        """
        ...

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """Every machine whose name begins with the tag: all pages, or an error; never a part."""
        ...

    def stop(self, external_id: str) -> None:
        """Halt the machine and keep its disk. To return proves nothing."""
        ...

    def start(self, external_id: str) -> None:
        """Run a stopped machine again. To return proves nothing.

        Raises:
            NoCapacity: its host has no GPU free.
        """
        ...

    def destroy(self, external_id: str) -> None:
        """End the machine and its rent. Of what is gone: success. To return proves nothing."""
        ...

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The last `tail` lines that the machine printed."""
        ...

    def balance(self) -> Decimal | None:
        """USD left on the account; None where it cannot be told, which is not zero."""
        ...
