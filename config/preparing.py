"""What `up` and `demo` do before they start the stack: services, tables, the first user."""

from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import transaction
from redis import RedisError

from config import celery_app, embedded
from config.secrets import kept_secret
from pods.base.redis import eviction_of, redis_client


def ensure_services() -> None:
    """Start the embedded Redis if REDIS_URL is not set.

    Raises:
        CommandError: it does not start; the message says what to do.
    """
    if settings.EMBEDDED_REDIS:
        try:
            url = embedded.ensure_running(settings.VAR_DIR)
        except embedded.NoServer as exc:
            raise CommandError(str(exc)) from exc
        # Another program may have taken its port: the address read at start is then out of date.
        settings.REDIS_URL = settings.CELERY_BROKER_URL = url
        celery_app.conf.update(broker_url=url)


def restart_services() -> str:
    """Start the embedded Redis again if it has ended; say so, and its new address if that changed.

    Raises:
        CommandError: it does not start, or its port was taken meanwhile; the message says what to do.
    """
    if not settings.EMBEDDED_REDIS or embedded.runs(settings.VAR_DIR):
        return ""
    before = settings.REDIS_URL
    ensure_services()
    if before != settings.REDIS_URL:
        raise CommandError(
            "the embedded Redis ended, and another program has taken its port; run this again"
        )
    return "the embedded Redis had ended, and was started again"


def warning_of_redis() -> str:
    """Why Redis cannot be used, or what is wrong with its policy for a full memory; "": nothing is.

    A warning alone: a manager that did not start would leave its pods alone.
    """
    try:
        return eviction_of(redis_client(settings.REDIS_URL))
    except RedisError as exc:
        if settings.EMBEDDED_REDIS:
            return ""  # `up` starts it
        return f"Redis cannot be used: {exc}; no pod starts and nothing is decided until it can"


def stop_services() -> None:
    """Stop the embedded Redis. Call this last: everything else uses it."""
    if settings.EMBEDDED_REDIS:
        embedded.stop(settings.VAR_DIR)


def migrate() -> None:
    """Bring the tables up to date. The migrations also create the schedule."""
    call_command("migrate", interactive=False, verbosity=0)


def ensure_admin() -> tuple[str, Path]:
    """Create the first administrator if there is none; return its name and its password file.

    Only this user of the machine can read the file. Where an administrator was made in another way,
    the file is missing.
    """
    path = settings.VAR_DIR / "admin-password"
    users = get_user_model()
    if not users.objects.filter(is_superuser=True).exists():
        with transaction.atomic():  # with its line in the audit log
            users.objects.create_superuser("admin", password=kept_secret(path, length=12))
    return "admin", path


def metrics_token() -> str:
    """The token with which Prometheus reads /metrics."""
    return kept_secret(settings.VAR_DIR / "metrics-token", length=32)


def flower_password() -> str:
    """The password of Flower's only user."""
    return kept_secret(settings.VAR_DIR / "flower-password", length=12)
