"""Makes all probes, each within its time limit; one that hangs or breaks hides no other."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connections

from config import embedded
from config.doctor import probing, row_probing
from config.doctor.facts import DatabaseFacts, Facts, RedisFacts

T = TypeVar("T")
MACHINE_SECONDS: Final = 5.0
DATABASE_SECONDS: Final = 12.0  # to connect may take 10 s (config/databases.py)
REDIS_SECONDS: Final = 12.0  # four calls of 3 s
PROVIDER_SECONDS: Final = 12.0  # to connect and to answer may take 5 s each
WORKERS_SECONDS: Final = 12.0
ROWS_SECONDS: Final = 15.0
IMAGES_SECONDS: Final = 90.0
ONLINE_SECONDS: Final = 90.0  # for the calls to all vendors


class Probe(Generic[T]):
    """A look at one part. It runs in a thread of its own from the start."""

    def __init__(self, name: str, look: Callable[[], T], *, seconds: float) -> None:
        self.name, self.seconds = name, seconds
        self.raised = ""
        self._look = look
        self._found: list[T] = []
        # A daemon: the process ends although a probe hangs.
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"doctor: {name}")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._look())
        except Exception as exc:  # noqa: BLE001 - what breaks one probe must not end the others
            self.raised = type(exc).__name__
        finally:
            connections.close_all()  # those of this thread

    def wait(self) -> T | None:
        """What it found; None if it raised, or did not end in time."""
        self._thread.join(self.seconds)
        return self._found[0] if self._found else None


class Examination:
    """The probes of one run, and which of them gave no answer."""

    def __init__(self) -> None:
        self.slow: dict[str, float] = {}
        self.failed: dict[str, str] = {}

    def result(self, probe: Probe[T]) -> T | None:
        """What the probe found; a probe without an answer is noted."""
        found = probe.wait()
        if found is None and probe.raised:
            self.failed[probe.name] = probe.raised
        elif found is None:
            self.slow[probe.name] = probe.seconds
        return found


def examine(*, online: bool) -> Facts:
    """All facts. It takes as long as the slowest server, at most the sum of three limits."""
    made = Examination()
    stopped = settings.EMBEDDED_REDIS and not embedded.runs(settings.VAR_DIR)
    machine = Probe("the machine", probing.machine, seconds=MACHINE_SECONDS)
    database = Probe("the database", probing.database, seconds=DATABASE_SECONDS)
    provider = Probe("the identity provider", probing.identity_provider, seconds=PROVIDER_SECONDS)
    seen_redis: RedisFacts | None = None
    bad = probing.bad_authority(row_probing.authorities(settings.REDIS_URL, settings.REDIS_CA))
    tls = urlsplit(settings.REDIS_URL).scheme == "rediss"
    if not stopped and not (bad and tls):  # without its file no connection with TLS can be made
        look = partial(probing.redis_server, settings.REDIS_URL)
        seen_redis = made.result(Probe("Redis", look, seconds=REDIS_SECONDS))
    seen_database: DatabaseFacts | None = made.result(database)
    queues = rows = images = None
    if seen_redis is not None and seen_redis.refusal is None:
        queues = Probe("the workers", probing.queues, seconds=WORKERS_SECONDS)
    if seen_database is not None and seen_database.usable:
        limit = ONLINE_SECONDS if online else ROWS_SECONDS
        rows = Probe("the rows", partial(row_probing.rows, online=online), seconds=limit)
        if online:
            images = Probe("the images", row_probing.images, seconds=IMAGES_SECONDS)
    return Facts(
        stack_stopped=stopped,
        bad_authority=bad,
        bad_provider=made.result(provider) or "",
        redis_verified=row_probing.is_verified(settings.REDIS_URL),
        users_wanted=settings.REDIS_USERS,
        machine=made.result(machine),
        database=seen_database,
        redis=seen_redis,
        rows=None if rows is None else made.result(rows),
        queues=None if queues is None else made.result(queues),
        images=() if images is None else made.result(images),
        slow=made.slow,
        failed=made.failed,
    )
