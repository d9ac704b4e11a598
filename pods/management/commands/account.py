"""`manage.py account …`: manages accounts and their keys, and tries each with a real call."""

import getpass
import json
import sys
from argparse import ArgumentParser
from reprlib import repr as short
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from rich.table import Table

from pods.accounts import breaker, editing, surveying
from pods.accounts.breaker import Health
from pods.accounts.editing import Tried
from pods.base.clock import utcnow
from pods.base.commands import CommandConsole, OwnCommand, error_lines, verbs_of
from pods.base.typed_json import TypedJSON
from pods.models import Account, Survey
from pods.plural import plural


def _add_values(parser: ArgumentParser) -> None:
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--secret-stdin",
        action="store_true",
        help="Read the key from standard input and store it encrypted.",
    )
    secret.add_argument("--secret-ref", metavar="env:NAME|file:/path", help="Where the key is.")
    parser.add_argument(
        "--options", metavar="JSON", help="Options for the provider. Do not put secrets here."
    )
    parser.add_argument(
        "--registry-host",
        metavar="HOST",
        help="The registry of private images, such as ghcr.io or docker.io. Empty: no login.",
    )
    parser.add_argument("--registry-user", metavar="USER", help="The registry's name of the user.")
    # Not in the group above: both together are refused with a message of their own.
    parser.add_argument(
        "--registry-password-stdin",
        action="store_true",
        help="Read the registry's password, or an access token, from standard input or from a prompt, "
        "and store it encrypted.",
    )
    parser.add_argument("--orphans", choices=[c.value for c in Account.Orphans])
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument("--enable", action="store_const", const=True, dest="enabled")
    switch.add_argument("--disable", action="store_const", const=False, dest="enabled")


class Command(OwnCommand):
    """Add, list, change and try accounts. Exit status: 0 done, 1 failed, 2 bad usage."""

    help = "Add, list, change and try accounts. A secret is never an argument and never shown."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One sub-command a verb."""
        verb = verbs_of(parser)
        add = verb("add", "Add an account.")
        add.add_argument(
            "--provider",
            required=True,
            help="With local, whoever may edit a fleet runs code here as the manager's user.",
        )
        _add_values(add)
        change = verb("set", "Change an account; with --provider, add it if it is missing.")
        change.add_argument("--provider")
        _add_values(change)
        verb("list", "List all accounts, one per line.", named=False)
        verb("check", "Try an account's credentials with a real call.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verb."""
        try:
            getattr(self, f"_{options['verb']}")(options)
        except ValidationError as exc:
            raise CommandError("; ".join(error_lines(exc, Account))) from exc

    def _account(self, options: dict[str, Any]) -> Account:
        name = options["name"]
        try:
            return Account.objects.get(name=name)
        except Account.DoesNotExist as exc:
            known = ", ".join(Account.objects.values_list("name", flat=True)) or "none"
            raise CommandError(f"no account {name!r}; known: {known}") from exc

    def _add(self, options: dict[str, Any]) -> None:
        name = options["name"]
        if Account.objects.filter(name=name).exists():
            raise CommandError(f"account {name!r} already exists; use `account set`")
        self._save(options, Account(name=name))

    def _set(self, options: dict[str, Any]) -> None:
        known = Account.objects.filter(name=options["name"]).first()
        if known is None and options["provider"]:
            self._add(options)
            return
        account = known or self._account(options)
        if options["provider"] not in {None, account.provider}:
            raise CommandError(
                f"account {account} belongs to {account.provider}; add another account for "
                f"{options['provider']}"
            )
        self._save(options, account)

    def _save(self, options: dict[str, Any], account: Account) -> None:
        changes = {
            name: options[name]
            for name in (
                *("provider", "secret_ref", "orphans", "enabled"),
                *("registry_host", "registry_user"),
            )
            if options[name] is not None
        }
        if options["options"] is not None:
            changes["options"] = _json(options["options"])
        if changes.get("registry_host") == "":
            changes.setdefault("registry_user", "")
        if options["secret_stdin"] and options["registry_password_stdin"]:
            raise CommandError(
                "standard input is either the key or the registry's password; give them in two calls",
                returncode=2,
            )
        secret = sys.stdin.read() if options["secret_stdin"] else None
        password = _registry_password() if options["registry_password_stdin"] else None
        if not changes and secret is None and password is None:
            raise CommandError("nothing to set; see `account set --help`", returncode=2)
        tried = editing.save_account(
            account, secret=secret, registry_password=password, changes=changes
        )
        offers = surveying.survey_account(account) if tried.good and account.enabled else 0
        text = f"saved; {tried.says}; {plural(offers, 'offer')}"
        self._tell(options, account, tried, text, offers=offers)

    def _check(self, options: dict[str, Any]) -> None:
        account = self._account(options)
        tried = editing.try_account(account)
        if not tried.good and not options["json"]:
            raise CommandError(f"{account}: {tried.says}")
        self._tell(options, account, tried, tried.says)
        if not tried.good:
            raise SystemExit(1)

    def _tell(
        self, options: dict[str, Any], account: Account, tried: Tried, text: str, **more: Any
    ) -> None:
        if options["json"]:
            balance = None if tried.balance_usd is None else str(tried.balance_usd)
            answer = {"good": tried.good, "says": tried.says, "balance_usd": balance, **more}
            self.stdout.write(json.dumps({"account": account.name, **answer}))
        else:
            self.stdout.write(f"{account}: {text}")

    def _list(self, options: dict[str, Any]) -> None:
        rows = [_described(a) for a in Account.objects.order_by("name")]
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        table = Table(box=None)
        for column in ("account", "provider", "key", "health", "offers"):
            table.add_column(column)
        for row in rows:
            table.add_row(
                row["name"], row["provider"], row["key"], row["health"], _offers_text(row)
            )
        CommandConsole().print(table if rows else "no accounts; make one with `account add`")


def _registry_password() -> str:
    """The password from standard input; a person is asked for it, and does not see it."""
    if sys.stdin.isatty():
        return getpass.getpass("Password at the registry: ")
    return sys.stdin.read()


def _offers_text(row: dict[str, Any]) -> str:
    """The number of offers; where a survey read a part, it has the cheapest ones."""
    return f"{row['offers']}, the cheapest" if row["partial"] else str(row["offers"])


def _wish(survey: Survey) -> dict[str, Any]:
    """What was found for one wish of the fleets."""
    at = survey.surveyed_at
    return {
        "wish": surveying.words_of(survey),
        "offers": len(survey.offers),
        "surveyed_at": None if at is None else at.isoformat(),
        "partial": survey.partial,
    }


def _json(text: str) -> Any:
    try:
        return json.loads(text, cls=TypedJSON)
    except ValueError as exc:
        raise CommandError(f"--options: {short(text)} is not JSON: {exc}", returncode=2) from exc


def _described(account: Account) -> dict[str, Any]:
    health = breaker.health(account, now=utcnow())
    ill = health in {Health.LEFT_ALONE, Health.FAILING}
    return {
        "name": account.name,
        "provider": account.provider,
        "key": "stored, encrypted" if account.sealed_secret else account.secret_ref or "none",
        "registry": account.registry_host or None,
        "registry_user": account.registry_user or None,
        "health": f"{health}: {account.last_error}" if ill else health.value,
        "offers": len(account.offers),
        "partial": account.survey_partial,
        "wishes": [_wish(survey) for survey in account.surveys.order_by("pk")],
        "surveyed_at": None if account.surveyed_at is None else account.surveyed_at.isoformat(),
    }
