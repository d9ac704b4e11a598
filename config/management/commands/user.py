"""`podfleet user …`: the ways back for a person who cannot sign in."""

import json
from argparse import ArgumentParser
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.db import transaction
from django.urls import reverse

from config import stack
from config.environment_file import LOCAL_HOSTS
from fleet import people, second_factor
from fleet.people import What
from pods.base.acting import How, user_of_machine
from pods.base.commands import OwnCommand, verbs_of


class Command(OwnCommand):
    """Who may run commands here may do everything, so it asks for no password. The history says who."""

    help = "List users, sign one in without a password, or remove a lost second factor."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add a subcommand for each verb."""
        verb = partial(verbs_of(parser), named=False)
        verb("list", "List the users with their roles and second factors.")
        for name, text in {
            "link": "Print a link that signs a user in once, within 10 minutes.",
            "remove-second-factor": "Remove the second factor of a user who lost the phone.",
        }.items():
            verb(name, text).add_argument("user", metavar="USER")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verb."""
        getattr(self, f"_{options['verb'].replace('-', '_')}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        has = set(User.objects.exclude(second_factor=None).values_list("pk", flat=True))
        users = User.objects.order_by("username").prefetch_related("groups")
        rows = [
            {
                "user": user.get_username(), "role": people.role_of(user), "active": user.is_active,
                "second_factor": user.pk in has, "password": user.has_usable_password(),
            }
            for user in users
        ]  # fmt: skip
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            more = [
                word
                for word, said in (
                    ("not active", not row["active"]),
                    ("second factor", row["second_factor"]),
                    ("no password", not row["password"]),
                )
                if said
            ]
            self.stdout.write(f"{row['user']}: {', '.join([str(row['role']), *more])}")

    def _link(self, options: dict[str, Any]) -> None:
        from config.signin.links import token_for  # noqa: PLC0415 - imports pages

        user = _user(options["user"])
        if not user.is_active or not user.is_staff:
            raise CommandError(
                f"{user.get_username()} is not active or has no role, so no link can help; an owner "
                "gives a role under Users"
            )
        path = reverse("sign-in-link", args=[token_for(user)])
        _note(What.LINK_MADE, user)
        origin = _origin()
        link = origin + path
        said = json.dumps({"link": link if origin else None, "path": path})
        self.stdout.write(said if options["json"] else link)
        if not origin:
            self.stderr.write(
                "put the address of your pages in front, such as https://podfleet.example.com; "
                "PODFLEET_CSRF_TRUSTED_ORIGINS names it once for all links"
            )
        self.stderr.write("it works once, within 10 minutes, for whoever has it")

    def _remove_second_factor(self, options: dict[str, Any]) -> None:
        user = _user(options["user"])
        with transaction.atomic():
            if not second_factor.remove(user):
                raise CommandError(f"{user.get_username()} has no second factor")
            _note(What.FACTOR_REMOVED, user)
        then = (
            "the next sign-in asks for a new one"
            if settings.REQUIRE_TOTP
            else ("the password alone signs in")
        )
        said = f"the second factor of {user.get_username()} is removed; {then}"
        self.stdout.write(json.dumps({"removed": user.get_username()}) if options["json"] else said)


def _origin() -> str:
    """Where browsers find the pages; "": nobody here knows.

    The first public origin that the settings name, else the stack that `up` runs on this machine, else
    an origin of this machine that the settings name.
    """
    origins = [origin.rstrip("/") for origin in settings.CSRF_TRUSTED_ORIGINS if "*" not in origin]
    local = [origin for origin in origins if urlsplit(origin).hostname in LOCAL_HOSTS]
    public = [origin for origin in origins if origin not in local]
    return next(iter([*public, stack.address_of_up(settings.VAR_DIR) or next(iter(local), "")]))


def _user(name: str) -> User:
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"no user {name!r}; `user list` shows them")
    return user


def _note(what: Any, user: User) -> None:
    people.note(what, user.get_username(), by=user_of_machine(), how=How.COMMAND)
