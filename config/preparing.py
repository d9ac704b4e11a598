"""What `up` and `demo` do before they start the stack: embedded services, tables, a way to log in."""

from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

from config import celery_app, embedded
from config.secrets import kept_secret


def ensure_services() -> None:
    """Start the embedded Redis where no REDIS_URL is set."""
    if settings.EMBEDDED_REDIS:
        url = embedded.ensure_running(settings.VAR_DIR)
        # Somebody else had taken its port: what this process read at its start is out of date.
        settings.REDIS_URL = settings.CELERY_BROKER_URL = url
        celery_app.conf.update(broker_url=url)


def stop_services() -> None:
    """Stop the embedded Redis; last, since everything else talks to it."""
    if settings.EMBEDDED_REDIS:
        embedded.stop(settings.VAR_DIR)


def migrate() -> None:
    """Bring the tables up to date; that makes the schedule too."""
    call_command("migrate", interactive=False, verbosity=0)


def ensure_admin() -> tuple[str, Path]:
    """The first administrator, with a password of its own in a file that only we can read."""
    path = settings.VAR_DIR / "admin-password"
    users = get_user_model()
    if not users.objects.filter(is_superuser=True).exists():
        users.objects.create_superuser("admin", password=kept_secret(path, length=12))
    return "admin", path


def flower_password() -> str:
    """The password of Flower's only user."""
    return kept_secret(settings.VAR_DIR / "flower-password", length=12)
