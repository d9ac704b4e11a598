"""What the doctor saw, as values. None means that it could not be seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from pods.providers.images import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """This machine, its Python and the data folder."""

    python: tuple[int, int]
    folder: str
    unusable: str = ""  # why the folder cannot be written
    open_to_others: bool = False  # other users of the machine may read it
    free_bytes: int | None = None
    secret_length: int = 50
    taken_ports: Sequence[int] = ()  # those that `up` wants and another program has


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """The database."""

    unreachable: str = ""
    file: str = ""  # of SQLite, which has no server
    missing_migrations: int = 0
    unknown_migrations: Sequence[str] = ()  # applied by another version
    clock_ahead: timedelta | None = None  # of this machine's

    @property
    def usable(self) -> bool:
        """Whether rows can be read."""
        return not self.unreachable and not self.missing_migrations


class Refusal(StrEnum):
    """Why Redis could not be used."""

    NO_ANSWER = "no answer"
    COMMAND = "command"  # it answers, and refuses what it is asked
    PASSWORD = "password"  # noqa: S105 - a name
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """The Redis of this installation."""

    refusal: Refusal | None = None
    said: str = ""  # in the words of the client, without a password
    product: str = "Redis"
    version: tuple[int, int] | None = None
    eviction_policy: str | None = None
    is_replica: bool = False
    keeps_data: bool | None = None  # on its disk
    used_share: float | None = None  # of its memory limit; None: it has none
    may_make_users: bool | None = None
    clock_ahead: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """One queue of Celery."""

    name: str
    waiting: int
    oldest_seconds: float | None
    has_worker: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """An account that is in use."""

    name: str
    key_problem: str = ""
    refused: str = ""  # by the vendor; asked only with --online
    not_asked: str = ""  # why the vendor gave no answer to --online
    unused_because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What an image's registry says to the account whose pods pull it."""

    image: str
    account: str
    found: Found
    refusal: str = ""  # what a refusal means: whose login, or that there is none
    says: str = ""  # why it is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """What the rows say."""

    now: datetime
    beat_last_sent: datetime | None = None
    undecided: int = 0
    lost_secrets: Sequence[str] = ()  # no field key opens them
    accounts: Sequence[AccountFacts] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)  # fleets, and why their pods fail
    ways_out: str = ""  # for these fleets


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that was seen; None: that probe did not answer, or could not be made."""

    stack_stopped: bool = False  # the embedded Redis does not run, so nothing else can
    bad_provider: str = ""  # why the identity provider cannot be used
    bad_authority: str = ""  # which setting names a file that has no certificate, and why
    redis_verified: bool = True  # its certificate is checked, or there is none
    users_wanted: bool = True  # each pod gets a Redis user
    machine: MachineFacts | None = None
    database: DatabaseFacts | None = None
    redis: RedisFacts | None = None
    rows: RowFacts | None = None
    queues: Sequence[QueueFacts] | None = None
    images: Sequence[ImageFacts] | None = ()  # asked only with --online
    slow: Mapping[str, float] = field(default_factory=dict)  # probes and their limits in seconds
    failed: Mapping[str, str] = field(default_factory=dict)  # probes and what they raised
