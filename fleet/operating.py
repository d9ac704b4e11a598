"""The verbs of operators: the admin, the API and the command line all call them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from redis import RedisError

from fleet import fits, ordering, promises
from fleet.code import channel as code
from fleet.code import handlers
from fleet.datasets import naming
from fleet.decision.field_words import edited
from fleet.decision.values import Goal, Mode
from fleet.models import ON_STREAM, Fleet
from fleet.money import spending
from fleet.ordering import LOCAL
from fleet.secrets import channel
from fleet.tick import scheduling, wishes
from pods.accounts import surveying
from pods.base.clock import utcnow
from pods.base.redis import make_consumer_group, redis_client
from pods.models import Account

PORTS: Final = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}
# The fields that `set` and the forms may change; the software writes the others.
EDITABLE: Final = tuple(
    f.name
    for f in Fleet._meta.get_fields()
    if getattr(f, "editable", False)
    and f.concrete
    and f.name not in {"id", "name", "accounts", "created_at"}
)


class EditedMeanwhile(Exception):
    """Somebody else changed the fleet since it was read; read it again, then edit again."""


def create_fleet(
    name: str,
    *,
    accounts: Sequence[str] = (),
    tick: timedelta | None = None,
    by: str,
    **values: Any,
) -> Fleet:
    """Create a fleet with its schedule and its consumer group, ready for its first tick.

    `accounts` are names. Without any, the fleet gets the `local` account, which is made if it is
    missing.

    Raises:
        ValidationError: a value is wrong; the message says which and what would be right.
    """
    fleet = Fleet(name=name, **values)
    create(fleet, accounts_named(accounts), tick=tick, by=by)
    prepare(fleet)
    return fleet


def create(
    fleet: Fleet, accounts: Sequence[Account], *, tick: timedelta | None = None, by: str
) -> None:
    """Write a new fleet with its accounts and its schedule. `prepare` does the rest.

    Raises:
        ValidationError: a value is wrong.
    """
    check(fleet, accounts)
    fleet.created_by = fleet.created_by or by
    promises.refuse_wrong(fleet)
    with transaction.atomic():
        fleet._change_reason = f"created by {by}"  # type: ignore[attr-defined]
        fleet.save(force_insert=True)
        fleet.accounts.set(accounts)
        scheduling.keep_schedule(fleet, every=tick or scheduling.DEFAULT_TICK)


def prepare(fleet: Fleet) -> bool:
    """Survey the accounts for what the fleet asks for, and make the consumer group.

    Return False if Redis does not answer. Then the group is not made yet, and the decisions say so.

    Raises:
        ValidationError: as `make_group`.
    """
    for account in fleet.accounts.all():
        survey_if_new(account)
    return make_group(fleet)


def check(fleet: Fleet, accounts: Sequence[Account] | None = None) -> None:
    """Check all values of a fleet; `accounts`: those that it will have, if they change.

    Raises:
        ValidationError: with a message for each field that is wrong.
    """
    refuse_archived(fleet)
    fleet.full_clean(exclude=["schedule"])
    handlers.refuse_unknown(fleet)
    ordering.refuse_two_starts(fleet)
    refuse_shared_stream(fleet)
    ordering.check_supply(fleet, list(fleet.accounts.all()) if accounts is None else accounts)


def refuse_archived(fleet: Fleet) -> None:
    """Refuse to change or use a fleet that is archived.

    Raises:
        ValidationError: it is.
    """
    if fleet.archived_at is not None:
        raise ValidationError(
            f"the fleet {fleet.name} was archived on {fleet.archived_at:%F}; bring it back first: "
            f"`fleet restore {fleet.name}`, or *Restore* on its page"
        )


def refuse_shared_stream(fleet: Fleet, *, comes_back: bool = False) -> None:
    """Refuse a fleet whose pods would take the items of another fleet's pods.

    Fleets that share a backlog since an older version can be edited; only their backlog cannot become
    that of another fleet. `comes_back`: the fleet was archived, so it drained nothing until now.

    Raises:
        ValidationError: another fleet drains the same backlog; the message names it.
    """
    drained = backlog_of(fleet)
    before = Fleet.objects.filter(pk=fleet.pk).first()
    if before is not None and backlog_of(before) == drained and not comes_back:
        return
    alike = ON_STREAM if fleet.on_stream else {fleet.backlog}
    others = Fleet.objects.filter(archived_at=None, backlog__in=alike, stream=fleet.stream).exclude(
        pk=fleet.pk
    )
    other = next((o for o in others.order_by("pk") if backlog_of(o) == drained), None)
    if other is None:
        return
    own = fleet.name if fleet.stream != fleet.name else f"{fleet.name}_items"
    if fleet.on_stream:
        text = (
            f"the fleet {other.name} drains the stream {fleet.stream} too; give this fleet a stream "
            f"of its own (on the command line: --stream {own} --group {own}), and add each item to "
            "both streams if both are to get it; with one group each item would go to the handler of "
            "one or the other, and with two groups an item that is put back from their common dead "
            f"letters ({fleet.dead_stream}) would go to both"
        )
    else:
        text = (
            f"the fleet {other.name} drains the queue {fleet.stream} of this broker, so each task "
            "would go to one or the other; give this fleet a queue of its own (on the command line: "
            f"--stream {own})"
        )
    raise ValidationError({"stream": text})


def backlog_of(fleet: Fleet) -> tuple[str, ...]:
    """What tells a backlog from others: its kind, server and name. The user does not matter.

    Nor does the group: the groups of a stream have the same results and dead letters.
    """
    kind = "stream" if fleet.on_stream else fleet.backlog
    return (kind, _place(fleet.backlog_url or settings.REDIS_URL), fleet.stream)


def _place(address: str) -> str:
    """The server and the database of an address, without its user."""
    try:
        url = urlsplit(address)
        port = url.port or PORTS.get(url.scheme, 0)
    except ValueError:  # its own field says so
        return address
    host = "127.0.0.1" if url.hostname == "localhost" else url.hostname or ""
    database = url.path.strip("/") or ("0" if url.scheme in {"redis", "rediss"} else "")
    return f"{host}:{port}/{database}?{url.query}"


def local_account() -> Account:
    """The account of this machine, whose pods cost nothing; it is made if it is missing."""
    account, _ = Account.objects.get_or_create(name=LOCAL, defaults={"provider": LOCAL})
    return account


def accounts_named(names: Sequence[str]) -> list[Account]:
    """The accounts of these names; without any name `local`, which is made if it is missing.

    Raises:
        ValidationError: no account has one of these names; the message lists the accounts.
    """
    return [_account(name) for name in names or (LOCAL,)]


def _account(name: str) -> Account:
    if name == LOCAL:
        return local_account()
    try:
        return Account.objects.get(name=name)
    except Account.DoesNotExist as exc:
        known = ", ".join(Account.objects.values_list("name", flat=True)) or "none"
        raise ValidationError({"accounts": f"no account {name!r}; known: {known}"}) from exc


def survey_if_new(account: Account) -> None:
    """Survey an account if something was never read from it, so that the first tick has offers."""
    wishes.keep_wishes(account)
    if account.surveyed_at is None or account.surveys.filter(surveyed_at=None).exists():
        surveying.survey_account(account)


def make_group(fleet: Fleet) -> bool:
    """Create the fleet's stream and consumer group if they are missing; False if Redis is down.

    Raises:
        ValidationError: Redis refuses the stream, or the address has an impossible host name.
    """
    if not fleet.on_stream:
        return True
    client = redis_client(fleet.backlog_url or settings.REDIS_URL)
    try:
        make_consumer_group(client, fleet.stream, fleet.group)
    except redis.ResponseError as exc:
        raise ValidationError({"stream": f"{fleet.stream}: {exc}"}) from exc
    except RedisError:
        return False
    except UnicodeError as exc:  # from the look-up of a name with a label that is empty or too long
        raise ValidationError({"backlog_url": f"not the name of a host: {exc}"}) from exc
    return True


def edit(
    fleet: Fleet,
    changes: Mapping[str, Any],
    *,
    accounts: Sequence[Account] | None = None,
    tick: timedelta | None = None,
    by: str,
    foresees: bool = True,
    gets_code: bool = False,
) -> Fleet:
    """Change fields, the accounts or the period of a fleet; in force from the next tick.

    The write is a compare-and-swap on the fleet's version: two operators who edit at once do not
    overwrite each other silently. After a change of its backlog or its accounts, call `prepare`.
    `foresees`: read the backlog to refuse a deadline that cannot be kept. False: a transaction is open.
    `gets_code`: the handler was checked with other code, which the fleet gets in the same transaction.

    Raises:
        ValidationError: a name or a value is wrong.
        EditedMeanwhile: the fleet changed since `fleet` was read.
    """
    unknown = sorted(set(changes) - {*EDITABLE, "name"})
    if unknown:
        raise ValidationError(
            f"{', '.join(unknown)} cannot be set; known: {', '.join(sorted(EDITABLE))}"
        )
    wrong: dict[str, ValidationError] = {}
    for name, value in changes.items():
        field = Fleet._meta.get_field(name)
        try:
            setattr(fleet, name, field.clean(value, fleet))  # type: ignore[union-attr]
        except ValidationError as exc:
            wrong[name] = exc
    if wrong:
        raise ValidationError(wrong)
    before = Fleet.objects.values_list("name", flat=True).get(pk=fleet.pk)
    refuse_rename(fleet, before)
    check(fleet, accounts)
    if not gets_code:
        handlers.refuse_missing(fleet)
    promises.refuse_wrong(fleet, changes)
    if foresees:
        promises.refuse_impossible(fleet, changes, accounts)
    with transaction.atomic():
        _write(fleet, _begins_budget(fleet, _ends_archiving(fleet, changes)), by=by)
        move_keys(fleet, before)
        if accounts is not None:
            fleet.accounts.set(accounts)
        scheduling.keep_schedule(fleet, every=tick)
    return fleet


def refuse_rename(fleet: Fleet, before: str) -> None:
    """Refuse another name for a fleet with pods: they read its secrets and say how they are by its name.

    Raises:
        ValidationError: a pod of it may bill.
    """
    if fleet.name != before and fleet.pods.billable().exists():
        text = f"the pods of {before} know it by its name; rename it after its last pod has ended"
        raise ValidationError({"name": text})


def move_keys(fleet: Fleet, before: str) -> None:
    """After this transaction, move what Redis keeps under the fleet's former name."""
    if fleet.name == before:
        return
    transaction.on_commit(partial(channel.forget, fleet, before))  # a tick writes them again
    transaction.on_commit(partial(code.forget, fleet, before))
    transaction.on_commit(partial(fits.forget, fleet, before))
    if fleet.is_dataset:
        transaction.on_commit(partial(naming.move, fleet, before))


def _ends_archiving(fleet: Fleet, changes: Collection[str]) -> Collection[str]:
    """A fleet that runs again is not to be archived any more."""
    if not fleet.archive_when_empty or fleet.mode != Mode.RUNNING.value:
        return changes
    fleet.archive_when_empty = False
    return {*changes, "archive_when_empty"}


def _begins_budget(fleet: Fleet, changes: Collection[str]) -> Collection[str]:
    """What was spent before the goal was set does not count against its budget."""
    if "goal" not in changes or fleet.goal != Goal.BUDGET.value:
        return changes
    fleet.budget_from_usd = spending.spent(utcnow(), fleet_id=fleet.pk).total
    return {*changes, "budget_from_usd"}


def _write(fleet: Fleet, changes: Collection[str], *, by: str) -> None:
    """Save these fields if the version is still the one that was read. Needs a transaction."""
    claim_version(fleet)
    written = sorted(changes)
    if "mode" in changes and fleet.mode == Mode.RUNNING.value:
        fleet.try_again_at = utcnow()
        written.append("try_again_at")
    if changes:
        fleet._change_reason = edited(changes, by)  # type: ignore[attr-defined]
        fleet.save(update_fields=written)


def claim_version(fleet: Fleet) -> None:
    """Increase the fleet's version by one, if it is still the version that was read.

    Raises:
        EditedMeanwhile: the version has changed since.
    """
    if not Fleet.objects.filter(pk=fleet.pk, version=fleet.version).update(
        version=F("version") + 1
    ):
        raise EditedMeanwhile(
            f"somebody else changed {fleet.name} meanwhile; load it again, then edit"
        )
    fleet.version += 1


def set_mode(fleet: Fleet, mode: Mode, *, by: str) -> Fleet:
    """Run, pause or stop a fleet; in force from the next tick.

    To run it, also if it runs already, ends the pause after pods that failed: one is tried now.
    A fleet with a wrong value cannot run, but it can always be paused and stopped.

    Raises:
        ValidationError: the mode is RUNNING, and a value of the fleet is wrong.
        EditedMeanwhile: the fleet changed since `fleet` was read.
    """
    if mode is Mode.RUNNING:
        return edit(fleet, {"mode": mode.value}, by=by)
    refuse_archived(fleet)
    fleet.mode = mode.value
    with transaction.atomic():
        _write(fleet, ["mode"], by=by)
    return fleet
