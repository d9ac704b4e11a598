"""`manage.py prepare`: prepare a deployment before its processes start."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from config import preparing, public_redis
from config.env import env
from pods.base.clock import utcnow
from pods.base.commands import OwnCommand


class Command(OwnCommand):
    """Migrates the database and creates the first administrator. Safe to run again."""

    help = "Bring the tables up to date and create the first administrator."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: CommandParser) -> None:
        """The files of the public Redis instead, and where the server sees them."""
        parser.add_argument(
            "--public-redis",
            action="store_true",
            help="Only write the authority, the certificate and the configuration of the Redis that "
            "rented pods reach at PODFLEET_PODS_REDIS_URL, into the var folder. Renew them if needed.",
        )
        parser.add_argument(
            "--also",
            action="append",
            default=[],
            metavar="NAME",
            help="With --public-redis: a further name of the server, for the manager.",
        )
        parser.add_argument(
            "--out",
            type=Path,
            metavar="FOLDER",
            help="With --public-redis: the folder for the server's own files (default: the folder "
            "`server` beside the authority).",
        )
        parser.add_argument(
            "--seen-at",
            metavar="FOLDER",
            help="With --public-redis: where the server sees its files (default: where they are).",
        )
        parser.add_argument(
            "--data",
            metavar="FOLDER",
            default="/data",
            help="With --public-redis: the folder of the server's data (default: /data).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, then create the administrator; or write the files of the public Redis.

        The administrator's password is PODFLEET_ADMIN_PASSWORD, or a generated one.
        """
        if options["public_redis"]:
            self._public_redis(options)
            return
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
            with transaction.atomic():  # with its line in the audit log
                users.objects.create_superuser("admin", password=password)
            self.stdout.write("created the user admin with the password in PODFLEET_ADMIN_PASSWORD")
        else:
            _user, path = preparing.ensure_admin()
            self.stdout.write(f"created the user admin; its password is in {path}")

    def _public_redis(self, options: dict[str, Any]) -> None:
        folder = Path(settings.VAR_DIR) / "redis-public"
        out: Path = options["out"] or folder / public_redis.SERVER
        try:
            server = public_redis.wanted(
                settings.PODS_REDIS_URL,
                user=env().redis_username,
                password=env().redis_password.get_secret_value(),
                names=options["also"],
                seen_at=options["seen_at"] or str(out.absolute()),
                data=options["data"],
            )
            changed = public_redis.prepare(folder, server, now=utcnow(), out=out)
        except public_redis.WrongServer as exc:
            raise CommandError(str(exc)) from exc
        for what in changed:
            self.stdout.write(f"wrote {what}")
        self.stdout.write(f"pods trust {folder / 'authority.pem'}; the server's files are in {out}")
