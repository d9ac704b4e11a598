"""Which facts are faults. Pure: it reads no clock, row or setting."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from config.doctor import redis_judging
from config.doctor.facts import (
    AccountFacts,
    DatabaseFacts,
    Facts,
    ImageFacts,
    MachineFacts,
    QueueFacts,
    RowFacts,
)
from config.doctor.findings import Code, Finding, error, warning
from pods.base.command_name import how_to_run, where_is
from pods.durations import lasting
from pods.plural import plural
from pods.providers.images import Found, registry_of

SUPPORTED: Final = ((3, 11), (3, 13))
FULL_BYTES: Final = 200 * 2**20  # the logs of the stack alone may grow to 150 MB
LOW_BYTES: Final = 2 * 2**30
SHORTEST_SECRET: Final = 40
# Hosts' clocks may differ by so much (config/health.py has the same limit).
SKEW: Final = timedelta(seconds=30)
BEAT_SILENCE: Final = timedelta(seconds=60)  # beat sends a task every few seconds
QUEUE_SECONDS: Final = 120.0  # the hard time limit of a task: whoever was in front has ended
MOST_NAMED: Final = 5
FOLDER_SETTINGS: Final = "PODFLEET_VAR_DIR (or PODFLEET_HOME, if you start `podfleet`)"


def settings_wrong(said: str) -> Finding:
    """The settings cannot be read, so nothing else can be looked at."""
    return error(
        Code.SETTING_WRONG,
        f"the settings cannot be used: {said}",
        f"correct this environment variable; {where_is('reference/settings.md')} has all of them",
    )


def folder_unusable(folder: str, said: str, *, file: str = "") -> Finding:
    """The data folder cannot be written. `file`: what stands at its place, or at that of a parent."""
    here = "let this user own the folder" if not file else f"move {file} away"
    return error(
        Code.FOLDER_UNUSABLE,
        f"the data folder {folder} cannot be written: {f'{file} is a file' if file else said}",
        f"{here}, or choose another folder with {FOLDER_SETTINGS}",
    )


def judge(seen: Facts) -> Sequence[Finding]:
    """All faults. A part that could not be seen is left out, except for the probe that failed."""
    findings = [*_probes(seen)]
    if seen.machine is not None:
        findings += machine(seen.machine)
    if seen.database is not None:
        findings += database(seen.database)
    if seen.redis is not None:
        findings += redis_judging.redis(seen.redis, users_wanted=seen.users_wanted)
    if seen.bad_authority:
        findings.append(redis_judging.bad_authority(seen.bad_authority))
    if not seen.redis_verified:
        findings.append(redis_judging.unverified())
    if seen.bad_provider:
        findings.append(_bad_provider(seen.bad_provider))
    if seen.rows is not None:
        findings += rows(seen.rows, stack_stopped=seen.stack_stopped)
    findings += images(seen.images or ())
    if seen.stack_stopped:
        findings.append(_stopped())
    elif seen.queues is not None:
        findings += queues(seen.queues)
    return findings


def _bad_provider(said: str) -> Finding:
    return error(
        Code.OIDC_UNUSABLE,
        f"nobody can sign in with the identity provider: {said}",
        f"correct PODFLEET_OIDC_ISSUER, or let this machine reach it; until then "
        f"`{how_to_run('user link NAME')}` signs a user in",
    )


def machine(seen: MachineFacts) -> Iterator[Finding]:
    """Python, the data folder and the ports."""
    low, high = SUPPORTED
    if not low <= seen.python <= high:
        yield warning(
            Code.PYTHON_UNSUPPORTED,
            f"this is Python {_dotted(seen.python)}; Podfleet is tested on {_dotted(low)} to "
            f"{_dotted(high)}",
            f"install Podfleet with Python {_dotted(high)}",
        )
    yield from _folder(seen)
    if seen.secret_length < SHORTEST_SECRET:
        yield warning(
            Code.SECRET_SHORT,
            f"PODFLEET_SECRET_KEY has {seen.secret_length} characters, so it can be guessed",
            f"give it at least {SHORTEST_SECRET} random characters; everyone must then log in again",
        )
    for port in seen.taken_ports:
        yield warning(
            Code.PORT_TAKEN,
            f"another program listens on port {port}, so `{how_to_run('up')}` takes another one",
            "end that program, or set PODFLEET_WEB_PORT and PODFLEET_FLOWER_PORT",
        )


def _folder(seen: MachineFacts) -> Iterator[Finding]:
    if seen.unusable:
        yield folder_unusable(seen.folder, seen.unusable)
    if seen.open_to_others:
        yield warning(
            Code.FOLDER_OPEN,
            f"other users of this machine can look into {seen.folder}, which has keys and passwords",
            f"chmod 700 {seen.folder}",
        )
    free = seen.free_bytes
    if free is None or free >= LOW_BYTES:
        return
    size = f"{seen.folder} has {free / 2**20:,.0f} MB left on its disk"
    room = "free some space, or move the folder to a larger disk"
    if free < FULL_BYTES:
        yield error(Code.DISK_FULL, f"{size}; databases and queues fail when it is full", room)
    else:
        yield warning(Code.DISK_LOW, size, room)


def database(seen: DatabaseFacts) -> Iterator[Finding]:
    """The database, its clock and its tables."""
    if seen.unreachable:
        yield error(
            Code.DATABASE_UNREACHABLE,
            f"the database {seen.file}{' ' * bool(seen.file)}cannot be used: {seen.unreachable}",
            (
                "let the folder exist and this user own it, or correct DATABASE_URL; restore a damaged "
                f"file from a backup ({where_is('howto/backup.md')} says how)"
                if seen.file
                else "start the server, and compare DATABASE_URL with its address, user and password"
            ),
        )
    if seen.missing_migrations:
        yield error(
            Code.MIGRATIONS_MISSING,
            f"{plural(seen.missing_migrations, 'migration')} of this version "
            f"{'is' if seen.missing_migrations == 1 else 'are'} not applied",
            f"run `{how_to_run('prepare')}`",
        )
    if seen.unknown_migrations:
        yield error(
            Code.MIGRATIONS_NEWER,
            f"the tables are of a newer version: this one does not know {_few(seen.unknown_migrations)}",
            f"install that version again; {where_is('howto/upgrade.md')} says how to go back",
        )
    if seen.clock_ahead is not None and abs(seen.clock_ahead) > SKEW:
        yield error(
            Code.DATABASE_CLOCK,
            redis_judging.skewed("the database's", seen.clock_ahead),
            "set the clocks of both hosts, best by NTP",
        )


def rows(seen: RowFacts, *, stack_stopped: bool) -> Iterator[Finding]:
    """Beat, decisions, stored secrets, accounts, and whether pods can reach Redis."""
    if not stack_stopped:
        yield from _beat(seen)
    if seen.lost_secrets:
        yield error(
            Code.KEY_WRONG,
            f"no key in PODFLEET_FIELD_KEYS opens the stored {_few(seen.lost_secrets)}",
            "add the key that encrypted them to PODFLEET_FIELD_KEYS (or restore the file field-key of "
            "the data folder), or store these secrets again",
        )
    for account in seen.accounts:
        yield from _account(account)
    for fleet, why in seen.unreachable.items():
        yield error(
            Code.PODS_CANNOT_REACH_REDIS,
            f"the fleet {fleet} may rent pods that cannot use its Redis: {why}",
            f"one of three ways: {seen.ways_out}",
        )


def _beat(seen: RowFacts) -> Iterator[Finding]:
    last, logs = seen.beat_last_sent, "the log of beat says why"
    if last is not None and last > seen.now + SKEW:
        yield error(
            Code.BEAT_AHEAD,
            f"beat sent a task {lasting(last - seen.now)} in the future: the clock of its host is, or "
            "was, ahead",
            "set the clocks of all hosts, best by NTP, and restart beat",
        )
    elif last is None or seen.now - last > BEAT_SILENCE:
        sent = "never sent a task"
        if last is not None:
            sent = f"sent no task for {lasting(seen.now - last)}"
        yield error(
            Code.BEAT_SILENT,
            f"beat has {sent}, so nothing is decided",
            f"start beat (`{how_to_run('up')}` runs one); if it runs, {logs}",
        )
    if seen.undecided:
        yield error(
            Code.FLEETS_UNDECIDED,
            f"{plural(seen.undecided, 'fleet')} had no decision for three periods",
            "look at the findings about beat, workers and Redis; else at the log of the control worker",
        )


def _account(seen: AccountFacts) -> Iterator[Finding]:
    if seen.key_problem:
        yield error(
            Code.ACCOUNT_KEY,
            f"the key of the account {seen.name} cannot be read: {seen.key_problem}",
            f"run `{how_to_run(f'account set {seen.name} --secret-stdin')}`, or correct its reference",
        )
    if seen.refused:
        yield error(
            Code.ACCOUNT_REFUSED,
            f"the account {seen.name} does not work: {seen.refused}",
            f"give it a valid key: `{how_to_run(f'account set {seen.name} --secret-stdin')}`",
        )
    if seen.not_asked:
        yield warning(
            Code.ACCOUNT_NOT_ASKED,
            f"the key of the account {seen.name} was not checked: {seen.not_asked}",
            "check the network and the address of the vendor, and try again later",
        )
    if seen.unused_because:
        yield warning(
            Code.ACCOUNT_PAUSED,
            f"{seen.unused_because}, so nothing is rented on it",
            f"run `{how_to_run(f'account check {seen.name}')}`; it is tried again by itself",
        )


def images(seen: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Whether the registries have the images, and give them to the accounts that pull them."""
    missing = sorted({look.image for look in seen if look.found is Found.NO})
    for image in missing:
        yield error(
            Code.IMAGE_MISSING,
            f"the registry {registry_of(image)} has no image {image}",
            "correct the fleet's image, or push it; a tag that was never pushed is a missing image too",
        )
    for look in seen:
        if look.found is Found.REFUSED:
            yield error(
                Code.IMAGE_REFUSED,
                f"{look.refusal}; many registries say the same of an image that does not exist",
                f"correct the image, or give {look.account} the login of this registry: "
                f"{where_is('howto/private-images.md')} says how",
            )
        elif look.found is Found.UNKNOWN:
            yield warning(
                Code.IMAGE_NOT_ASKED,
                f"the image {look.image} was not checked: {look.says}",
                "check the network of this machine and the name of the registry; pods pull it from "
                "their own network",
            )


def queues(seen: Sequence[QueueFacts]) -> Iterator[Finding]:
    """Whether each queue has a worker, and is worked off in time."""
    for queue in seen:
        if not queue.has_worker:
            yield error(
                Code.WORKERS_MISSING,
                f"no worker takes tasks from the queue {queue.name}",
                f"start one (`{how_to_run('up')}` runs all); {where_is('howto/deploy.md')} has the "
                "commands",
            )
        elif queue.oldest_seconds is not None and queue.oldest_seconds > QUEUE_SECONDS:
            yield warning(
                Code.QUEUE_LATE,
                f"the oldest of {plural(queue.waiting, 'task')} in the queue {queue.name} waits for "
                f"{lasting(timedelta(seconds=queue.oldest_seconds))}",
                "add workers or processes (PODFLEET_WORKER_CONCURRENCY); look for hanging vendor calls",
            )


def _stopped() -> Finding:
    return warning(
        Code.STACK_STOPPED,
        "the stack does not run: no Redis, no workers, no beat",
        f"run `{how_to_run('up')}`",
    )


def _probes(seen: Facts) -> Iterator[Finding]:
    for name, seconds in seen.slow.items():
        yield error(
            Code.PROBE_SLOW,
            f"the check of {name} did not end within {seconds:g} s, so its result is not known",
            f"look whether the server behind {name} answers, and run this again",
        )
    for name, raised in seen.failed.items():
        yield error(
            Code.PROBE_FAILED,
            f"the check of {name} failed with {raised}, so its result is not known",
            "run it again; if it fails again, report it with this line",
        )


def _few(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
