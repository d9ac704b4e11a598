"""The protocol between the manager and an agent: keys, fields, commands, settings.

docs/reference/protocol.md and agent.md describe it.

Both sides import it, so it uses the standard library alone and runs on Python 3.10.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Optional, Union

VERSION = 2

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
ENV_PREFIX = "PODFLEET_"
# Longer values go on in <NAME>_01, _02 …: Vast.ai takes 256 characters, with the name.
CA, LONGEST_PIECE = "PODFLEET_REDIS_CA", 200
# By it an adapter tells the agent that its vendor's API ends this machine: "<vendor>:<pod>".
ENDED_BY = "PODFLEET_ENDED_BY"
# The folder in which a machine keeps fetched code and what it installed for it (start.py). What no pod
# has begun to use for so many days is deleted.
CACHE, CACHE_DAYS = "PODFLEET_CACHE", "PODFLEET_CACHE_DAYS"
# What the entries of the stream are, in AgentSettings.kind: items, or ranges of a dataset.
ITEMS, DATASET = "", "dataset"
# A heartbeat stays readable for this long after the agent's end, so that the operator can read it.
HEARTBEAT_TTL_SECONDS = 3600
LARGEST_COUNT = 2**53 - 1
LONGEST_MS = 10 * 365 * 24 * 3600 * 1000
# A pod that failed so many items in a row takes no more than a trickle. It is ill if others succeed, and
# another try could have helped.
MOST_FAILING = 32
# An agent holds at most so many bytes of items, and with the last item taken more by that item.
MOST_HELD_BYTES = 128 * 1024 * 1024
UNKNOWN = -1  # what an agent says instead of a number that it does not know
MAY_BE_UNKNOWN = {"since_ack_ms"}
# For what share of the time the handler did what. They add up to 1 at most.
SHARES = ("busy", "starved", "link", "starting")
SHARES_SLACK = 0.01  # each share is rounded by itself
# What an agent measures about itself: its type and the largest value. An agent may not know it, and an
# agent of version 1 sends `gpu_percent` alone.
MEASURES: Mapping[str, "tuple[Union[type[int], type[float]], int]"] = {
    **dict.fromkeys(SHARES, (float, 1)),
    "batch": (int, LARGEST_COUNT),
    "held_bytes": (int, LARGEST_COUNT),
    "rtt_ms": (float, LONGEST_MS),
    "gpu_percent": (int, 100),
    "gpu_memory_percent": (int, 100),
    "gpu_watts": (int, LARGEST_COUNT),
    "cpu_percent": (int, 100),
}
SCRIPTS = Path(__file__).parent / "scripts"
# Fields of a heartbeat that older agents do not send.
OF_NEWER_AGENTS = {"failing", "final", "gone", "held_ms"}
# Fields of the fleet's secrets: a version, which changes with them, and `env:<NAME>` for each of them.
SECRETS_VERSION, SECRET_PREFIX = "version", "env:"
# What a store needs to be read and written. The agent itself uses these secrets.
STORE_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_")
_KINDS = {"int": int, "float": float}
_NUMBERS = {int: "a whole number", float: "a number"}
# The consumer that stands for "nobody". Items that an agent gives back are pending there, and every
# agent takes these first. No pod may have this name.
RELEASED_CONSUMER = "podfleet-released"


def ended_by(vendor: str, pod: str) -> dict[str, str]:
    """The variable that lets the agent of this pod, and no other, end its machine at the vendor."""
    return {ENDED_BY: f"{vendor}:{pod}"}


class Command(str, Enum):
    """The commands of the manager to an agent."""

    DRAIN = "drain"  # take nothing more, finish what is in hand, then report `drained` and exit
    STOP = "stop"  # finish nothing: give back what is in hand, and exit


class AgentState(str, Enum):
    """What an agent reports about itself."""

    STARTING = "starting"  # the handler is loading
    WORKING = "working"  # it reads the backlog, busy or idle
    DRAINING = "draining"
    DRAINED = "drained"  # nothing in hand, about to exit
    FAILED = "failed"  # it cannot work; `note` says why


@dataclass(frozen=True)
class Keys:
    """The Redis keys of one fleet."""

    fleet: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.fleet):
            raise ValueError(
                f"fleet name {self.fleet!r}: use 1-60 of a-z, 0-9 and -, not beginning with -"
            )

    @property
    def prefix(self) -> str:
        """The beginning of every key of the fleet. A pod's Redis user is limited to it."""
        return f"podfleet:{self.fleet}:"

    @property
    def lease(self) -> str:
        """A counter that a living manager raises. Unchanged for `orphan_seconds`: no manager."""
        return f"{self.prefix}lease"

    def pod(self, pod: str) -> str:
        """Hash: the last heartbeat of one agent."""
        return f"{self.prefix}pod:{pod}"

    def command(self, pod: str) -> str:
        """String: the command for one agent."""
        return f"{self.prefix}pod:{pod}:command"

    def fence(self, pod: str) -> str:
        """Exists as soon as the pod is written off and may not take, acknowledge or publish."""
        return f"{self.prefix}pod:{pod}:fence"

    @property
    def rows(self) -> str:
        """Hash: the rows of a dataset (ranges.py). Only pods of a dataset's fleet may use it."""
        return f"{self.prefix}rows"

    @property
    def code(self) -> str:
        """The beginning of the keys of the fleet's code, which only its pods may read.

        `<digest>`: strings, named by the SHA-256 of their bytes: the packed code, the agent's wheel.
        `agent`: JSON, the wheel's file name and its digest (start.py).
        """
        return f"{self.prefix}code:"

    @property
    def secrets(self) -> str:
        """Hash: the fleet's secrets, which only its pods may read. See `SECRETS_VERSION`."""
        return f"{self.prefix}secrets"

    @property
    def fits(self) -> str:
        """Hash: how large a call may be for the memory of a type of GPU (fitting.py)."""
        return f"{self.prefix}fits"

    def offered(self, entry: str) -> str:
        """Exists if the item may not be copied (any more). The entry may be a pattern."""
        return f"{self.prefix}offered:{entry}"


@dataclass(frozen=True)
class Heartbeat:
    """An agent's last report. Durations are in milliseconds of the agent's own clock.

    The script sets `at_ms` from the Redis server's clock, so no clocks of two hosts are compared.
    """

    state: AgentState
    at_ms: int = 0
    version: int = VERSION
    done: int = 0  # items acknowledged with a result by this agent
    failed: int = 0  # tries that the handler failed
    failing: int = 0  # items that failed since the last one that was done, and may be tried again
    final: int = 0  # items that failed since then for good: no other try can help
    dead: int = 0  # items put on the dead-letter stream
    duplicates: int = 0  # results not published, because another agent had acknowledged the item
    gone: int = 0  # results not published, because nobody has the item any more: it was trimmed
    claimed: int = 0  # items taken over from dead consumers
    in_flight: int = 0  # items read and not yet acknowledged
    idle_ms: int = 0  # since it last had an item in hand; 0 while it has one
    held_ms: int = 0  # with items in hand, all times together; 0: none, or an older agent
    since_ack_ms: int = -1  # since its last acknowledgement; -1: none yet
    oldest_ms: int = 0  # since it read the oldest item in hand; 0: nothing in hand
    uptime_ms: int = 0
    rate: float = 0.0  # items/s acknowledged in about the last half minute
    # Measures; None: not known. Shares and `held_bytes` are over the same time as the rate.
    busy: Optional[float] = None  # the handler worked; 0 to 1, as all shares
    starved: Optional[float] = None  # it waited, and no item was on its way
    link: Optional[float] = None  # it waited for round trips that were under way
    starting: Optional[float] = None  # its process loaded, for the first time or after a crash
    batch: Optional[int] = None  # items in the next batch
    held_bytes: Optional[int] = None  # the most bytes of items in hand
    rtt_ms: Optional[float] = None  # of a round trip to Redis
    gpu_percent: Optional[int] = None  # the mean of all GPUs that the agent sees
    gpu_memory_percent: Optional[int] = None  # of all these GPUs together
    gpu_watts: Optional[int] = None  # of all these GPUs together
    cpu_percent: Optional[int] = None  # of all cores that the agent may use, with its handler
    handler: str = ""
    host: str = ""
    note: str = ""

    def fields(self) -> dict[str, str]:
        """The fields of the hash, except `at_ms`, which the script sets."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del values["at_ms"]
        values["state"] = self.state.value
        return {n: str(UNKNOWN if value is None else value) for n, value in values.items()}

    @property
    def full(self) -> bool:
        """Whether the limit in bytes stopped its reading in the last half minute."""
        return self.held_bytes is not None and self.held_bytes >= MOST_HELD_BYTES

    @classmethod
    def parse(cls, raw: Mapping[bytes, bytes]) -> "Heartbeat | None":
        """The heartbeat in a hash. None where it is missing or cannot be read.

        Fields that this version does not know are skipped. A missing or malformed field makes the
        whole heartbeat unreadable, which is not the same as an idle pod. A pod may be anybody's
        machine, so a number that cannot be calculated with is malformed too.
        """
        try:
            text = {k.decode(): _clean(v) for k, v in raw.items()}
            rate = float(text.get("rate", "0"))
            if not 0 <= rate <= LARGEST_COUNT:  # this also refuses nan
                return None
            return cls(
                state=AgentState(text["state"]),
                handler=text.get("handler", ""),
                host=text.get("host", ""),
                note=text.get("note", ""),
                rate=rate,
                **_measures(text),  # type: ignore[arg-type]
                **{
                    f.name: _bounded(f.name, text[f.name])
                    for f in dataclasses.fields(cls)
                    if f.type in (int, "int")
                    and not (f.name in OF_NEWER_AGENTS and f.name not in text)
                },
            )
        except (KeyError, ValueError):
            return None


def written_at_ms(raw: Mapping[bytes, bytes]) -> "int | None":
    """When a heartbeat was written, also where nothing else of it can be read."""
    try:
        return _bounded("at_ms", raw[b"at_ms"].decode())
    except (KeyError, ValueError):
        return None


def _bounded(name: str, text: str) -> int:
    value = int(text)
    is_duration = name.endswith("_ms") and name != "at_ms"
    least = -1 if name in MAY_BE_UNKNOWN else 0
    if not least <= value <= (LONGEST_MS if is_duration else LARGEST_COUNT):
        raise ValueError(f"{name} is {value}")
    return value


def _measures(text: Mapping[str, str]) -> "dict[str, Union[int, float, None]]":
    """What the agent says about itself, without what it does not say."""
    said = {name: _measured(name, text[name]) for name in MEASURES if name in text}
    shares = sum(said.get(name) or 0 for name in SHARES)
    if shares > 1 + SHARES_SLACK:
        raise ValueError(f"the shares of the time add up to {shares}")
    return said


def _measured(name: str, text: str) -> "Union[int, float, None]":
    kind, most = MEASURES[name]
    value = kind(text)
    if value == UNKNOWN:
        return None
    if not 0 <= value <= most:  # this also refuses nan
        raise ValueError(f"{name} is {value}")
    return value


def _clean(value: bytes) -> str:
    return "".join(c if c.isprintable() else " " for c in value.decode("utf-8", "replace"))


# --- items and results ---------------------------------------------------------------------
# An item is an entry of the stream. The agent uses only these fields. The handler gets all fields.
ITEM_PAYLOAD = "payload"
ITEM_ID = "id"  # the user's own id; where it is missing, the entry id
ITEM_REPLY_TO = "reply_to"
# An item that was sent back from the dead letters has its former failures here, a line each.
ITEM_HISTORY = "dead_history"
# A result is an entry of a stream with these fields.
RESULT_ID = "id"
RESULT_ENTRY = "entry"
RESULT_POD = "pod"
RESULT_VALUE = "result"
# A dead letter has the item's own fields and these.
DEAD_ENTRY = "dead_entry"
DEAD_ERROR = "dead_error"
DEAD_TRACEBACK = "dead_traceback"
DEAD_DELIVERIES = "dead_deliveries"
DEAD_POD = "dead_pod"
DEAD_AT_MS = "dead_at_ms"
# 1: the stream no longer had the item, so the letter has no fields of its own.
DEAD_GONE = "dead_gone"


def result_stream(stream: str) -> str:
    """The stream of results that have no other stream."""
    return f"{stream}:results"


def dead_stream(stream: str) -> str:
    """The stream of dead letters."""
    return f"{stream}:dead"


@dataclass(frozen=True)
class AgentSettings:
    """The settings that an agent gets at its start through its environment.

    Each field is the variable `PODFLEET_<FIELD IN CAPITALS>`.
    """

    redis_url: str = dataclasses.field(repr=False)
    fleet: str
    pod: str  # also its consumer name
    stream: str
    group: str
    handler: str  # package.module:function
    results: str = ""  # "": <stream>:results
    dead: str = ""  # "": <stream>:dead
    reply_to: str = (
        ""  # more streams that an item may name, beside `results` and `<results>:*`: a,b:*
    )
    longest_results: int = 0  # about how many entries a result stream keeps; 0: all
    celery_app: str = ""  # the user's Celery app (package.module:app), whose queue is `stream`
    token: str = ""  # the client token of the pod
    # Base64 of the certificates (DER) against which alone the server of `redis_url` is checked. Of one
    # certificate it is its PEM without the first line, the last one and line ends. "": the machine's.
    redis_ca: str = ""
    bundle: str = ""  # SHA-256 of the fleet's code (bootstrap.py); "": the image has it
    template: str = ""  # names the pod's template; another one has found no sizes of calls yet
    batch_size: int = 64  # the most items in a batch
    target_batch_seconds: float = 5.0  # batches that take longer are made smaller, where that helps
    max_deliveries: int = 5
    # After this long without a sign an item belongs to a dead consumer.
    claim_idle_seconds: float = 60.0
    heartbeat_seconds: float = 3.0
    orphan_seconds: float = 900.0  # without a manager for this long: drain and end the machine
    drain_seconds: float = 60.0
    # From SIGTERM until items are given back. RunPod killed 5 s after SIGTERM, Docker kills after 10 s.
    notice_seconds: float = 4.0
    handler_timeout_seconds: float = 600.0
    kind: str = ITEMS  # or DATASET: the entries of the stream are ranges of files
    range_bytes: int = 256 * 1024 * 1024  # the most rows and results of a dataset in memory

    def __post_init__(self) -> None:
        if not self.results:
            object.__setattr__(self, "results", result_stream(self.stream))
        if not self.dead:
            object.__setattr__(self, "dead", dead_stream(self.stream))

    def env(self) -> dict[str, str]:
        """The environment that gives an agent these settings."""
        fields = dataclasses.fields(self)
        values = {ENV_PREFIX + f.name.upper(): str(getattr(self, f.name)) for f in fields}
        rest = range(LONGEST_PIECE, len(self.redis_ca), LONGEST_PIECE)
        for number, start in enumerate(rest, start=1):
            values[f"{CA}_{number:02}"] = self.redis_ca[start : start + LONGEST_PIECE]
        return {**values, CA: self.redis_ca[:LONGEST_PIECE]}

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "AgentSettings":
        """The settings in an environment.

        Raises:
            ValueError: variables are missing or malformed. The message names all of them.
        """
        env = {**env, CA: "".join(env[name] for name in sorted(env) if name.startswith(CA))}
        values: dict[str, object] = {}
        wrong: list[str] = []
        for f in dataclasses.fields(cls):
            name = ENV_PREFIX + f.name.upper()
            kind = _KINDS.get(str(getattr(f.type, "__name__", f.type)), str)
            if name in env:
                try:
                    values[f.name] = kind(env[name])
                except ValueError:
                    wrong.append(f"{name}={env[name]!r} is not {_NUMBERS[kind]}")
                    continue
                number = values[f.name]
                if isinstance(number, (int, float)) and not (number > 0 or number == f.default):
                    wrong.append(f"{name}={env[name]} must be above 0")
            elif f.default is dataclasses.MISSING:
                wrong.append(f"{name} is not set")
        if wrong:
            raise ValueError("; ".join(wrong))
        told = cls(**values)  # type: ignore[arg-type]
        if told.kind not in {ITEMS, DATASET}:
            raise ValueError(f"{ENV_PREFIX}KIND={told.kind!r} is not {DATASET!r}, or nothing")
        if not told.celery_app and told.results in {told.stream, told.dead}:
            raise ValueError(
                f"{ENV_PREFIX}RESULTS={told.results} is the backlog or its dead letters; each result "
                "would be read as an item"
            )
        return told
