"""Which facts about Redis are faults. Pure."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from config.doctor.facts import RedisFacts, Refusal
from config.doctor.findings import Code, Finding, error, warning
from pods.durations import lasting

OLDEST: Final = (7, 0)
SKEW: Final = timedelta(seconds=30)
NEARLY_FULL: Final = 0.9


def redis(seen: RedisFacts, *, users_wanted: bool) -> Iterator[Finding]:
    """The Redis of this installation."""
    if seen.refusal is not None:
        yield _refused(seen.refusal, seen.said)
        return
    if seen.version is not None and seen.version < OLDEST:
        yield error(
            Code.REDIS_OLD,
            f"the server is {seen.product} {'.'.join(map(str, seen.version))}; its streams do not say "
            "how many entries a group has left",
            "install Redis 7.0 or later, or Valkey",
        )
    yield from _data(seen)
    if users_wanted and seen.may_make_users is False:
        yield error(
            Code.REDIS_NO_USERS,
            "Redis does not let the manager make users, so no pod can get one and none starts",
            "give the manager's user the right to ACL SETUSER, or set PODFLEET_REDIS_USERS=0: then all "
            "pods get the manager's own password",
        )
    if seen.clock_ahead is not None and abs(seen.clock_ahead) > SKEW:
        yield error(
            Code.REDIS_CLOCK,
            skewed("Redis'", seen.clock_ahead),
            "set the clocks of both hosts, best by NTP",
        )


def _refused(refusal: Refusal, said: str) -> Finding:
    if refusal is Refusal.PASSWORD:
        return error(
            Code.REDIS_PASSWORD,
            f"Redis refuses the user or the password: {said}",
            "correct REDIS_USERNAME and REDIS_PASSWORD, or the login in REDIS_URL, which counts more; "
            "in the address write @ in a password as %40, / as %2F, : as %3A and # as %23",
        )
    if refusal is Refusal.COMMAND:
        return error(
            Code.REDIS_REFUSES,
            f"Redis answers, and refuses what it is asked: {said}",
            "correct the number of the database at the end of REDIS_URL (most servers have 0 to 15); if "
            "the user has too few rights, give it those of the manager",
        )
    if refusal is Refusal.CERTIFICATE:
        return error(
            Code.REDIS_CERTIFICATE,
            f"no verified TLS connection to Redis can be made: {said}",
            "let the certificate be valid now and name the host in REDIS_URL; for a CA of your own set "
            "PODFLEET_REDIS_CA=/path/ca.pem",
        )
    return error(
        Code.REDIS_UNREACHABLE,
        f"Redis does not answer: {said}",
        "start the server, and compare REDIS_URL with its host and port; look at firewalls between; the "
        "address of a server with TLS begins with rediss://, and that of a server without with redis://",
    )


def _data(seen: RedisFacts) -> Iterator[Finding]:
    if seen.eviction_policy not in {None, "noeviction"}:
        yield error(
            Code.REDIS_EVICTS,
            f"maxmemory-policy is {seen.eviction_policy}: a full Redis deletes tasks, items and fences",
            "set maxmemory-policy to noeviction",
        )
    if seen.is_replica:
        yield error(
            Code.REDIS_REPLICA,
            "REDIS_URL leads to a replica, which cannot be written",
            "give the address of the primary server",
        )
    if seen.keeps_data is False:
        yield warning(
            Code.REDIS_FORGETS,
            "Redis keeps nothing on its disk: a restart loses queued items and results",
            "set appendonly to yes",
        )
    if seen.used_share is not None and seen.used_share > NEARLY_FULL:
        yield error(
            Code.REDIS_FULL,
            f"Redis uses {seen.used_share:.0%} of its maxmemory; when it is full, no item can be "
            "queued and no result written",
            "collect results, or raise maxmemory",
        )


def bad_authority(said: str) -> Finding:
    """A setting names a file that has no certificate."""
    return error(
        Code.REDIS_AUTHORITY,
        said,
        "let it name a readable PEM file with the certificate of the CA of Redis, or take it out",
    )


def unverified() -> Finding:
    """The address says that the certificate is not checked."""
    return warning(
        Code.REDIS_UNVERIFIED,
        "REDIS_URL has ssl_cert_reqs that does not require a certificate, so anybody between can read "
        "and change what is sent",
        "take the word out, and add ?ssl_ca_certs=/path/ca.pem for a CA of your own",
    )


def skewed(whose: str, ahead: timedelta) -> str:
    """A sentence about two clocks that differ."""
    way = "ahead of" if ahead > timedelta(0) else "behind"
    return f"{whose} clock is {lasting(abs(ahead))} {way} the clock of this machine"
