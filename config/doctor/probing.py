"""Looks at the machine, the database and Redis; every function may take long or raise."""

import shutil
import ssl
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import redis
import requests
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import celery_app, stack
from config.doctor.facts import DatabaseFacts, MachineFacts, QueueFacts, RedisFacts, Refusal
from config.env import env
from config.oidc import same_issuer
from config.task_ages import age_of
from pods.base import redis_address
from pods.base.clock import utcnow
from pods.base.commands import database_advice
from pods.base.redis import redis_client
from pods.base.shared_clock import shared_now
from pods.masking import without_passwords

REDIS_SECONDS: Final = 3.0
PROVIDER_SECONDS: Final = 5
PING_SECONDS: Final = 2.0
OURS: Final = ("fleet", "pods")  # apps whose migrations show the version


def machine() -> MachineFacts:
    """Python, the data folder, the length of the secret key and the ports."""
    folder: Path = settings.VAR_DIR
    unusable = ""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="doctor-") as file:
            file.write(b"x")
            file.flush()
    except OSError as exc:
        unusable = exc.strerror or type(exc).__name__
    there = folder.is_dir()
    return MachineFacts(
        python=sys.version_info[:2],
        folder=str(folder),
        unusable=unusable,
        open_to_others=there and bool(folder.stat().st_mode & 0o077),
        free_bytes=shutil.disk_usage(folder).free if there else None,
        secret_length=len(settings.SECRET_KEY),
        taken_ports=_taken_ports(),
    )


def identity_provider() -> str:
    """Why the identity provider of the settings cannot be used; "": it can, or there is none."""
    oidc = settings.OIDC
    if not oidc.issuer:
        return ""
    try:
        answer = requests.get(oidc.discovery_url, timeout=PROVIDER_SECONDS)
        if not answer.ok:
            return f"{oidc.discovery_url} answers with the status {answer.status_code}"
        issuer = answer.json()["issuer"]
    except requests.exceptions.JSONDecodeError:
        return f"{oidc.discovery_url} does not answer with JSON"
    except requests.RequestException as exc:
        return f"{oidc.discovery_url} gives no answer ({type(exc).__name__})"
    except (KeyError, TypeError):
        return f"{oidc.discovery_url} names no issuer"
    if not same_issuer(str(issuer), oidc.issuer):
        return f"it calls itself {issuer}, and PODFLEET_OIDC_ISSUER is {oidc.issuer}"
    return ""


def _taken_ports() -> list[int]:
    """The ports of `up` that another program has; none while our own stack runs."""
    if env().production:  # its servers have ports of their own
        return []
    try:
        with stack.alone(settings.VAR_DIR):
            wanted = (env().web_port, env().flower_port)
            return [port for port in wanted if stack.free_port(port, env().bind) != port]
    except (stack.AlreadyRunning, stack.NoPort, OSError):
        return []


def database() -> DatabaseFacts:
    """Whether it answers, which migrations it lacks, and its clock."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        ahead = shared_now() - utcnow()
    except DatabaseError as exc:
        said = " ".join(str(exc).split()) or type(exc).__name__
        file = str(settings.DATABASES["default"]["NAME"]) if connection.vendor == "sqlite" else ""
        return DatabaseFacts(unreachable=database_advice(exc) or said, file=file)
    known = executor.loader.disk_migrations
    applied = executor.loader.applied_migrations
    unknown = [f"{app}.{name}" for app, name in applied if app in OURS and (app, name) not in known]
    return DatabaseFacts(
        missing_migrations=len(plan), unknown_migrations=sorted(unknown), clock_ahead=ahead
    )


def redis_server(url: str) -> RedisFacts:
    """What the server at this address says of itself, or why it cannot be used."""
    client = redis.Redis.from_url(
        redis_address.usable(url),
        protocol=2,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        client.ping()
        asked: Any = client.info()
        seconds, micros = client.time()
        may = _may_make_users(client)
    except (redis.RedisError, OSError) as exc:
        return RedisFacts(refusal=refusal_of(exc), said=_said(exc))
    finally:
        client.close()
    ahead = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros) - utcnow()
    return redis_facts(asked, clock_ahead=ahead, may_make_users=may)


def bad_authority(files: Mapping[str, str]) -> str:
    """The first of these settings that names a file without a certificate, and why; "": none."""
    for setting, file in files.items():
        try:
            Path(file).read_bytes()  # its error names the reason, which that of TLS may not
            ssl.create_default_context(cafile=file)
        except ssl.SSLError:
            return f"{setting} names {file}, which has no certificate"
        except OSError as exc:
            return f"{setting} names {file}, which cannot be read: {exc.strerror}"
    return ""


def redis_facts(
    asked: Mapping[str, Any], *, clock_ahead: timedelta | None, may_make_users: bool | None
) -> RedisFacts:
    """The facts in an answer to INFO. A managed server may leave fields out."""
    product = "Valkey" if "valkey_version" in asked else "Redis"
    version = str(asked.get("valkey_version") or asked.get("redis_version") or "")
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    most = int(asked.get("maxmemory") or 0)
    keeps = asked.get("aof_enabled")
    return RedisFacts(
        product=product,
        version=(numbers[0], numbers[1]) if len(numbers) == 2 else None,
        eviction_policy=asked.get("maxmemory_policy"),
        is_replica=asked.get("role") == "slave",
        keeps_data=None if keeps is None else bool(keeps),
        used_share=int(asked.get("used_memory") or 0) / most if most else None,
        may_make_users=may_make_users,
        clock_ahead=clock_ahead,
    )


def refusal_of(error: BaseException) -> Refusal:
    """Why the server could not be used, by the types of the error and of what caused it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return Refusal.CERTIFICATE
        if isinstance(cause, redis.AuthenticationError | redis.exceptions.AuthorizationError):
            return Refusal.PASSWORD
        if isinstance(cause, redis.ResponseError):
            return Refusal.COMMAND
        cause = cause.__cause__ or cause.__context__
    return Refusal.NO_ANSWER


def _may_make_users(client: "redis.Redis") -> bool | None:
    """Whether ACL SETUSER is allowed, without making a user. None: the server cannot say (Redis 6)."""
    try:
        me = client.acl_whoami()
        asked: Any = client  # the stubs do not know the command
        answer = asked.execute_command("ACL", "DRYRUN", me, "ACL", "SETUSER", "podfleet-doctor")
    except redis.exceptions.NoPermissionError:
        return False
    except redis.ResponseError:
        return None
    return bool(answer in {b"OK", "OK"})


def queues() -> list[QueueFacts]:
    """The queues of Celery with their workers. It waits PING_SECONDS for the workers' answers."""
    names = [queue.name for queue in settings.CELERY_TASK_QUEUES]
    with redis_client(settings.REDIS_URL).pipeline(transaction=False) as pipe:
        for name in names:
            pipe.llen(name)
            pipe.lindex(name, -1)  # workers take from this end
        answers = pipe.execute()
    served = _served()
    return [
        QueueFacts(
            name=name,
            waiting=length,
            oldest_seconds=age_of(message),
            has_worker=name in served,
        )
        for name, length, message in zip(names, answers[::2], answers[1::2], strict=True)
    ]


def _served() -> set[str]:
    """The queues from which a worker takes tasks."""
    answers = celery_app.control.inspect(timeout=PING_SECONDS).active_queues() or {}
    return {queue["name"] for served in answers.values() for queue in served}


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return without_passwords(text.rstrip("."))
