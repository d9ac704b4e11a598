"""What the doctor may find: a stable code for each fault, its cause in a sentence, and the remedy."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """A fault. Programs read the codes, so a code never changes its meaning."""

    SETTING_WRONG = "setting-wrong"
    FOLDER_UNUSABLE = "folder-unusable"
    FOLDER_OPEN = "folder-open"
    DISK_FULL = "disk-full"
    DISK_LOW = "disk-low"
    PYTHON_UNSUPPORTED = "python-unsupported"
    SECRET_SHORT = "secret-short"  # noqa: S105 - a name
    KEY_WRONG = "key-wrong"
    DATABASE_UNREACHABLE = "database-unreachable"
    DATABASE_CLOCK = "database-clock"
    MIGRATIONS_MISSING = "migrations-missing"
    MIGRATIONS_NEWER = "migrations-newer"
    REDIS_UNREACHABLE = "redis-unreachable"
    REDIS_PASSWORD = "redis-password"  # noqa: S105 - a name
    REDIS_REFUSES = "redis-refuses"
    REDIS_AUTHORITY = "redis-authority"
    REDIS_CERTIFICATE = "redis-certificate"
    REDIS_UNVERIFIED = "redis-unverified"
    REDIS_OLD = "redis-old"
    REDIS_EVICTS = "redis-evicts"
    REDIS_REPLICA = "redis-replica"
    REDIS_FORGETS = "redis-forgets"
    REDIS_FULL = "redis-full"
    REDIS_NO_USERS = "redis-no-users"
    REDIS_CLOCK = "redis-clock"
    OIDC_UNUSABLE = "oidc-unusable"
    STACK_STOPPED = "stack-stopped"
    BEAT_SILENT = "beat-silent"
    BEAT_AHEAD = "beat-ahead"
    WORKERS_MISSING = "workers-missing"
    QUEUE_LATE = "queue-late"
    FLEETS_UNDECIDED = "fleets-undecided"
    ACCOUNT_KEY = "account-key"
    ACCOUNT_REFUSED = "account-refused"
    ACCOUNT_NOT_ASKED = "account-not-asked"
    ACCOUNT_PAUSED = "account-paused"
    IMAGE_MISSING = "image-missing"
    IMAGE_REFUSED = "image-refused"
    IMAGE_NOT_ASKED = "image-not-asked"
    PODS_CANNOT_REACH_REDIS = "pods-cannot-reach-redis"
    PORT_TAKEN = "port-taken"
    PROBE_SLOW = "probe-slow"
    PROBE_FAILED = "probe-failed"


class Level(StrEnum):
    """How bad it is."""

    ERROR = "error"  # something does not work
    WARNING = "warning"  # it works, and something may go wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault."""

    code: Code
    level: Level
    cause: str
    remedy: str


# Exit status of the command.
NOTHING_WRONG: Final = 0
WARNINGS: Final = 1
ERRORS: Final = 2


def error(code: Code, cause: str, remedy: str) -> Finding:
    """A fault because of which something does not work."""
    return Finding(code=code, level=Level.ERROR, cause=cause, remedy=remedy)


def warning(code: Code, cause: str, remedy: str) -> Finding:
    """A fault because of which something may go wrong."""
    return Finding(code=code, level=Level.WARNING, cause=cause, remedy=remedy)


def exit_status(findings: Sequence[Finding]) -> int:
    """0 if nothing is wrong, 1 for warnings alone, 2 for an error."""
    if not findings:
        return NOTHING_WRONG
    return ERRORS if any(found.level is Level.ERROR for found in findings) else WARNINGS


def as_text(findings: Sequence[Finding]) -> str:
    """The findings for people, errors first."""
    if not findings:
        return "nothing is wrong"
    ordered = sorted(findings, key=lambda found: found.level is not Level.ERROR)
    blocks = [
        f"{found.level}: {found.cause}\n    do: {found.remedy}\n    code: {found.code}"
        for found in ordered
    ]
    return "\n\n".join(blocks)


def as_json(findings: Sequence[Finding], version: str) -> str:
    """The findings for programs."""
    rows = [
        {"code": f.code.value, "level": f.level.value, "cause": f.cause, "remedy": f.remedy}
        for f in findings
    ]
    return json.dumps({"version": version, "findings": rows})
