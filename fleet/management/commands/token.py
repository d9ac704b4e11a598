"""`manage.py token …`: makes, lists and revokes the tokens of the API."""

import getpass
import json
from argparse import ArgumentParser
from functools import partial
from typing import IO, Any, Final, cast

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from rich.table import Table

from fleet import tokens
from fleet.models import ApiToken, Scope
from pods.base.clock import utcnow
from pods.base.commands import CommandConsole, OwnCommand, error_lines, verbs_of
from pods.base.words import NONE

MOMENTS: Final = ("created_at", "expires_at", "last_used_at", "revoked_at")


class Command(OwnCommand):
    """Make, list and revoke tokens of the API. Exit status: 0 done, 1 failed, 2 bad usage."""

    help = "Make, list and revoke the tokens of the REST API."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add a subcommand for each verb."""
        verb = partial(verbs_of(parser), named=False)
        create = verb("create", "Make a token for a user, and print it once.")
        create.add_argument("user", metavar="USER")
        create.add_argument("name", metavar="NAME", help="What uses it, such as a service.")
        create.add_argument("--scope", choices=Scope.values, default=Scope.READ.value)
        create.add_argument(
            "--days", type=int, default=tokens.DEFAULT_DAYS, help="Days until it expires (90)."
        )
        verb("list", "List the tokens, without their secrets.").add_argument(
            "--all", action="store_true", help="Expired and revoked ones too."
        )
        verb("revoke", "End a token for good.").add_argument(
            "prefix", metavar="PREFIX", help="Its beginning, as `token list` shows it."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verb."""
        try:
            getattr(self, f"_{options['verb']}")(options)
        except ValidationError as exc:
            raise CommandError("; ".join(error_lines(exc, ApiToken))) from exc

    def _create(self, options: dict[str, Any]) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"no user {options['user']!r}; the admin has them under Users")
        token, secret = tokens.make_token(
            user, options["name"], Scope(options["scope"]), days=options["days"],
            by=getpass.getuser(),
        )  # fmt: skip
        if options["json"]:
            self.stdout.write(json.dumps({**_as_json(token), "token": secret}))
            return
        self.stdout.write(secret)
        self.stderr.write(
            f"copy it now, it is never shown again; scope {token.scope}, until "
            f"{token.expires_at:%F %H:%M} UTC"
        )

    def _list(self, options: dict[str, Any]) -> None:
        now = utcnow()
        rows = ApiToken.objects.select_related("owner")
        if not options["all"]:
            rows = rows.filter(revoked_at=None, expires_at__gt=now)
        found = list(rows)
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(token) for token in found]))
            return
        table = Table(box=None)
        for column in (
            "token",
            "user",
            "name",
            "scope",
            "expires (UTC)",
            "last used (UTC)",
            "state",
        ):
            table.add_column(column)
        for token in found:
            used = f"{token.last_used_at:%F %H:%M}" if token.last_used_at else NONE
            table.add_row(
                f"{token.prefix}…", token.owner.get_username(), token.name, token.scope,
                f"{token.expires_at:%F %H:%M}", used, token.state(now),
            )  # fmt: skip
        nothing = "no tokens; make one with `token create USER NAME`"
        CommandConsole(file=cast("IO[str]", self.stdout)).print(table if found else nothing)

    def _revoke(self, options: dict[str, Any]) -> None:
        token = ApiToken.objects.filter(prefix=options["prefix"].rstrip("…")).first()
        if token is None or not tokens.revoke(token, by=getpass.getuser()):
            raise CommandError(f"no token in use begins with {options['prefix']}; see `token list`")
        answer = json.dumps({"revoked": token.prefix})
        self.stdout.write(answer if options["json"] else f"{token.prefix}… is revoked")


def _as_json(token: ApiToken) -> dict[str, Any]:
    moments = {name: getattr(token, name) for name in MOMENTS}
    return {
        "prefix": token.prefix,
        "owner": token.owner.get_username(),
        "name": token.name,
        "scope": token.scope,
        "state": token.state(utcnow()),
        **{name: None if at is None else at.isoformat() for name, at in moments.items()},
    }
