"""The interface of a provider, and the values that it takes and returns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from pods.price import as_kept, is_price
from pods.providers.texts import make_storable


class Phase(StrEnum):
    """Where a machine is in its life, as its provider reports it."""

    BOOTING = "booting"  # rented; its container does not run yet
    RUNNING = "running"  # its container runs; only the heartbeat says whether the agent works
    STOPPING = "stopping"
    STOPPED = "stopped"  # nothing runs; the disk is kept and may bill
    FAILED = "failed"  # it will not run again by itself
    GONE = "gone"  # the provider says that it no longer exists
    UNKNOWN = "unknown"  # a word that we do not know; never treated as gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often an endpoint may be called: `burst` calls at once, then one call per `every`."""

    every: timedelta
    burst: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can do and promises, as data. Callers test a flag, never a name."""

    can_stop: bool = False
    # How long a created machine may be missing from `status` and `list_tagged`.
    list_lag: timedelta = timedelta(0)
    # How long an old answer may still show a destroyed machine, or hide a living one.
    consistency_window: timedelta = timedelta(0)
    has_balance: bool = False
    # Its machines are processes of the manager's host, so they reach what the manager reaches.
    on_this_host: bool = False
    python: str = ""  # the one that runs their agents, as a path; "": not known
    # The provider restarts a container that exits, or starts an outbid machine again by itself.
    comes_back: bool = False
    # The vendor's rate limits, by the adapter's name of the endpoint. "*": all calls of the account.
    rates: Mapping[str, Rate] = field(default_factory=dict, hash=False)
    # It logs in at an image's registry with `PodSpec.registry_login`.
    registry_logins: bool = False
    # What a user and a password of such a login must be: a regular expression for the whole of each, and
    # the same for people. "": what every registry takes.
    login_pattern: str = ""
    login_rule: str = ""
    # Its machines run `PodSpec.args`. An adapter without it gets no pod of a fleet that has some.
    takes_args: bool = False
    # The most GPUs that one machine can have. None: its offers say it.
    most_gpus: int | None = None
    # How long an answer of `offers` is kept, because vendors limit how often one may search.
    offers_ttl: timedelta = timedelta(0)
    # How old an offer may be when a pod is requested on it. Prices of a market move by the minute.
    # A price list changes rarely: a provider with one gives more.
    offers_last: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferQuery:
    """What a fleet is willing to rent. An empty sequence or None means no restriction.

    Names are those of `pods.catalogue`. What an adapter sends to its vendor as a filter must let
    through everything that fits: what a filter hides, no later check can see.
    """

    gpu_types: Sequence[str] = ()
    gpu_count: int = 1  # of one machine, whose price is that of all of them
    min_vram_gb: int | None = None
    regions: Sequence[str] = ()
    max_hourly_usd: Decimal | None = None
    min_reliability: float | None = None  # 0..1
    min_remaining: timedelta | None = None  # for how long the offer can still be rented
    interruptible: bool | None = None  # None: both kinds
    disk_gb: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Something that can be rented now."""

    key: str  # goes into PodSpec.offer_key; the same while the offer lasts
    hourly_usd: Decimal  # of the whole machine while it runs, with its disk
    gpu_type: str = ""
    gpu_count: int = 0
    vram_gb: int | None = None  # of one GPU
    region: str = ""
    interruptible: bool = False
    reliability: float | None = None
    host: str = ""  # the physical machine, where the provider names it
    remaining: timedelta | None = None
    stopped_hourly_usd: Decimal | None = None  # while the machine is stopped; None: unknown
    disk_gb: int = 0  # the disk that both prices include
    gb_hourly_usd: Decimal = Decimal(0)  # of one GB of disk, whether the machine runs or not
    largest_disk_gb: int | None = None  # the most disk that its host has; None: not known

    def __post_init__(self) -> None:
        """Hold no text that cannot be stored, and each price as rows keep it."""
        make_storable(self)
        for name in ("hourly_usd", "stopped_hourly_usd"):
            usd: Decimal | None = getattr(self, name)
            if usd is not None and is_price(usd):
                object.__setattr__(self, name, as_kept(usd))


class Offers(tuple[Offer, ...]):
    """The offers of one look, and what was not read of it. A plain sequence is a whole one."""

    partial: str  # why offers that fit may be missing, for people; "": all were read
    cut_short: bool  # a page failed, or the rate ran out: a later look may read more

    def __new__(
        cls, offers: Iterable[Offer] = (), *, partial: str = "", cut_short: bool = False
    ) -> "Offers":
        """Offers in this order."""
        self = super().__new__(cls, offers)
        self.partial, self.cut_short = partial, cut_short
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryLogin:
    """The login at the registry of a private image. No repr has the password."""

    host: str  # as `images.registry_of` names it: ghcr.io, docker.io, registry.example:5000
    user: str
    password: str = field(repr=False)
    # For vendors that keep logins under a name. `owner` is the account of this installation, and
    # `digest` is another one for each login. Nobody can find the password by it.
    owner: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """The machine that a pod needs."""

    name: str  # unique for each client token; [a-z0-9-], at most 60 characters; begins with `tag`
    tag: str  # `list_tagged` finds the machine by it; one tag per fleet of an installation
    offer_key: str = ""
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    disk_gb: int = 20
    gpu_count: int = 0
    interruptible: bool = False
    # What the machine runs instead of what its image says. Empty: what the image says.
    command: Sequence[str] = ()
    # What the image's own entrypoint gets instead of the image's CMD. Empty: the image's CMD. Never
    # together with `command`. Machines that run no image ignore it.
    args: Sequence[str] = ()
    # For the registry of `image`. None: the image is public, or the account has no login there.
    registry_login: RegistryLogin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a provider says about one machine."""

    external_id: str
    token: str  # the client token of its create; "" where the provider does not know it
    name: str
    phase: Phase
    raw_status: str = ""  # the provider's own word, for people
    hourly_usd: Decimal | None = None  # while it runs; None: the provider does not say
    stopped_hourly_usd: Decimal | None = None  # while it is stopped; None: the same
    created_at: datetime | None = None
    gpu_type: str = ""
    gpu_count: int | None = None  # None: the provider does not say
    disk_gb: int | None = None  # None: the provider does not say
    region: str = ""
    host: str = ""
    interruptible: bool = False
    because: str = ""  # why it is in this phase, where the provider says so
    # Its image cannot be pulled, because the registry refused the login, or wants one.
    login_refused: bool = False
    console_url: str = ""

    def __post_init__(self) -> None:
        """Hold nothing that cannot be stored, and the prices as rows keep them."""
        make_storable(self)
        for name in ("hourly_usd", "stopped_hourly_usd"):
            if (usd := getattr(self, name)) is not None:
                object.__setattr__(self, name, as_kept(usd) if is_price(usd) else None)


class Provider(Protocol):
    """One account at one vendor or host.

    It has no state: each call names its machine. Every method raises ProviderError and nothing
    else.
    """

    name: str
    capabilities: Capabilities

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """The offers that can be rented now and that fit the query.

        An adapter that could read only a part returns `Offers` with `partial`. It raises if it could
        read nothing.
        """
        ...

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        """Rent a machine. After Unavailable the caller looks for the token before it tries again.

        Raises:
            NoCapacity, QuotaExceeded, AuthFailed, Refused: nothing was rented, except the machine
                that `Refused.billing_id` names.
            Unavailable: no answer came. The machine may exist and bill.
        """
        ...

    def status(self, external_id: str) -> Machine:
        """What the provider says about one machine.

        Raises:
            NotFound: the provider does not know it (or not yet, within `list_lag`).
        """
        ...

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """Every machine whose name begins with the tag: all pages, or an error, never a part."""
        ...

    def stop(self, external_id: str) -> None:
        """Stop the machine and keep its disk. A return does not prove that it is stopped."""
        ...

    def start(self, external_id: str) -> None:
        """Start a stopped machine again. A return does not prove that it runs.

        Raises:
            NoCapacity: its host has no free GPU.
        """
        ...

    def destroy(self, external_id: str) -> None:
        """End the machine and its rent. A machine that is gone already is a success.

        A return does not prove that the machine is gone.
        """
        ...

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The last `tail` lines that the machine printed."""
        ...

    def balance(self) -> Decimal | None:
        """USD left on the account. None means unknown, which is not zero."""
        ...
