"""`manage.py prepare`: prepare a deployment before its processes start."""

import os
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from config import preparing
from pods.base.commands import OwnCommand


class Command(OwnCommand):
    """Migrates the database and creates the first administrator. Safe to run again."""

    help = "Bring the tables up to date and create the first administrator."
    requires_system_checks = "__all__"

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, then create the administrator.

        Its password is PODFLEET_ADMIN_PASSWORD, or a generated one.
        """
        if warning := preparing.warning_of_redis():
            self.stderr.write(f"warning: REDIS_URL: {warning}")
        preparing.migrate()
        users = get_user_model()
        if users.objects.filter(is_superuser=True).exists():
            return
        password = os.environ.get("PODFLEET_ADMIN_PASSWORD")
        if password is not None and len(password) < 12:
            raise CommandError("PODFLEET_ADMIN_PASSWORD is too short; give at least 12 characters")
        if password:
            users.objects.create_superuser("admin", password=password)
            self.stdout.write("created the user admin with the password in PODFLEET_ADMIN_PASSWORD")
        else:
            _user, path = preparing.ensure_admin()
            self.stdout.write(f"created the user admin; its password is in {path}")
