"""The rows that say who did what. Each source is in the order of time, and is read in pieces."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from decimal import Decimal
from heapq import merge
from typing import Any, Final

from django.contrib.admin.models import ADDITION, DELETION, LogEntry
from django.db.models import Min

from fleet.auditing import masks
from fleet.auditing.entries import Change, Entry
from fleet.models import AlertAnswer, ApiToken, Channel, Fleet, Limits, Override, PersonEvent
from fleet.pages import activity
from pods.base.acting import OVER_API, How
from pods.masking import without_passwords
from pods.models import Account, PodEvent

PIECE: Final = 500  # rows that are in memory at once, of each source
VERBS: Final[Mapping[str, str]] = {"+": "created", "~": "changed", "-": "deleted"}
# What an entry calls a row that has a history.
KINDS: Final[Mapping[Any, str]] = {
    Fleet: "fleet", Limits: "limits", Account: "account", Channel: "alert channel",
    Override: "manual hold", ApiToken: "API token",
}  # fmt: skip
ABOUT_USERS: Final = (PersonEvent.What.MADE, PersonEvent.What.EDITED, PersonEvent.What.DELETED)
BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


def entries(since: datetime, until: datetime, *, user: str = "") -> Generator[Entry]:
    """What people did from `since` to just before `until`, the oldest first; of one user or of all.

    It keeps one row of each fleet, and a piece of each source, in memory. Close it where it is not
    read to its end: it has open cursors.
    """
    found = [
        *(_history(model, kind, since, until) for model, kind in KINDS.items()),
        _in_the_admin(since, until), _pods(since, until), _answers(since, until),
        _holds(since, until), _tokens_made(since, until), _tokens_revoked(since, until),
        _people(since, until),
    ]  # fmt: skip
    with ExitStack() as stack:
        for source in found:
            stack.enter_context(closing(source))
        merged = merge(*found, key=lambda entry: entry.at)
        yield from (entry for entry in merged if not user or entry.is_about(user))


def _history(model: Any, kind: str, since: datetime, until: datetime) -> Generator[Entry]:
    """The versions of rows, each with what changed since the version before."""
    former: dict[Any, Any] = {}
    fleets = dict(Fleet.objects.values_list("pk", "name")) if model is Override else {}
    rows = model.history.filter(history_date__gte=since, history_date__lt=until)
    rows = rows.select_related("history_user").order_by("history_date", "history_id")
    for row in rows.iterator(chunk_size=PIECE):
        before = former.get(row.id)
        if before is None and row.history_type == "~":
            earlier = model.history.filter(id=row.id, history_id__lt=row.history_id)
            before = earlier.order_by("-history_id").first()
        former[row.id] = row
        user = row.history_user
        who = row.changed_by or (user.get_username() if user else "")
        changes = _changes(row, before) if row.history_type == "~" and before else ()
        if row.history_type == "~" and not changes and not row.history_change_reason:
            continue  # it was saved as it was, or is the first version of an older row
        revoked = any(change.field == "revoked_at" for change in changes)
        yield Entry(
            at=row.history_date, who=who, how=row.changed_how or (How.ADMIN.value if user else ""),
            what="revoked" if revoked else VERBS[row.history_type], kind=kind, name=_called(row, fleets),
            changes=changes, said=without_passwords(row.history_change_reason or ""),
            token=row.changed_token,
        )  # fmt: skip


def _called(row: Any, fleets: Mapping[int, str]) -> str:
    """The name of what has this version."""
    if row.instance_type is Limits:
        return "installation"
    if row.instance_type is Override:
        return fleets.get(row.fleet_id, f"fleet {row.fleet_id}")  # of one that is gone, the number
    return f"{row.prefix}… ({row.name})" if row.instance_type is ApiToken else str(row.name)


def _recorded_since(model: Any) -> datetime | None:
    """When the first version of such a row was kept: older rows have none. None: there is none."""
    at: datetime | None = model.history.aggregate(at=Min("history_date"))["at"]
    return at


def _changes(row: Any, before: Any) -> list[Change]:
    of_a_fleet = masks.OF_A_FLEET if row.instance_type is Fleet else {}
    found = []
    for field in row.tracked_fields:
        was, now = getattr(before, field.attname), getattr(row, field.attname)
        if was != now:
            was, now = masks.change(of_a_fleet.get(field.name), _plain(was), _plain(now))
            found.append(Change(field=field.name, before=was, after=now))
    names = filter(None, getattr(row, "secrets_changed", "").split(","))
    hidden = (masks.SECRETS[name] for name in names)
    return [*found, *(Change(field=name, before="", after=masks.HIDDEN) for name in hidden)]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal | datetime) else value


def _in_the_admin(since: datetime, until: datetime) -> Generator[Entry]:
    """Django's own log: what was edited in the admin, where no history says more."""
    beginnings = {
        (model._meta.app_label, model._meta.model_name): (
            BEGINNING if model in {Fleet, Limits} else _recorded_since(model)
        )
        for model in KINDS
    }
    made = PersonEvent.objects.filter(what__in=ABOUT_USERS).aggregate(at=Min("at"))["at"]
    beginnings["auth", "user"] = made
    rows = LogEntry.objects.filter(action_time__gte=since, action_time__lt=until)
    rows = rows.select_related("user", "content_type").order_by("action_time", "pk")
    for row in rows.iterator(chunk_size=PIECE):
        kind = row.content_type
        begun = None if kind is None else beginnings.get((kind.app_label, kind.model))
        if begun is not None and row.action_time >= begun:
            continue
        verb = {ADDITION: "created", DELETION: "deleted"}.get(row.action_flag, "changed")
        yield Entry(
            at=row.action_time, who=row.user.get_username(), how=How.ADMIN.value, what=verb,
            kind="" if kind is None else str(kind.name), name=without_passwords(row.object_repr),
            said=without_passwords(row.get_change_message()),
        )  # fmt: skip


def _pods(since: datetime, until: datetime) -> Generator[Entry]:
    """What people did to pods."""
    rows = PodEvent.objects.filter(activity.BY_PEOPLE, at__gte=since, at__lt=until)
    rows = rows.select_related("pod__fleet").order_by("at", "pk")
    for row in rows.iterator(chunk_size=PIECE):
        who, how = _by(row.by.removeprefix(activity.BY_ADMIN))
        moved = [Change(field="state", before=row.before, after=row.after)] if row.after else []
        yield Entry(
            at=row.at, who=who, how=how, what="changed" if moved else "noted", kind="pod",
            name=f"{row.pod.fleet} {row.pod}", changes=moved, said=without_passwords(row.because),
        )  # fmt: skip


def _answers(since: datetime, until: datetime) -> Generator[Entry]:
    rows = AlertAnswer.objects.filter(at__gte=since, at__lt=until).select_related("alert")
    for row in rows.order_by("at", "pk").iterator(chunk_size=PIECE):
        who, how = _by(row.by)
        yield Entry(
            at=row.at, who=who, how=row.changed_how or how, token=row.changed_token,
            what=activity.ANSWERS.get(row.what, row.what), kind="alert",
            name=without_passwords(row.alert.text),
        )  # fmt: skip


def _holds(since: datetime, until: datetime) -> Generator[Entry]:
    """Those that an older version made; the history has the others."""
    rows = Override.objects.filter(created_at__gte=since, created_at__lt=until)
    rows = rows.exclude(pk__in=Override.history.filter(history_type="+").values("id"))
    rows = rows.select_related("fleet").order_by("created_at", "pk")
    for row in rows.iterator(chunk_size=PIECE):
        who, how = _by(row.by)
        said = f"{row.pods} pods until {row.until:%F %H:%M} UTC: {row.because}"
        yield Entry(
            at=row.created_at, who=who, how=how, what="created", kind="manual hold",
            name=str(row.fleet), said=without_passwords(said),
        )  # fmt: skip


def _tokens_made(since: datetime, until: datetime) -> Generator[Entry]:
    rows = ApiToken.objects.filter(created_at__gte=since, created_at__lt=until)
    rows = rows.exclude(pk__in=ApiToken.history.filter(history_type="+").values("id"))
    rows = rows.select_related("owner").order_by("created_at", "pk")
    for row in rows.iterator(chunk_size=PIECE):
        who = row.owner.get_username()
        yield Entry(
            at=row.created_at, who=who, how="", what="created", kind="API token", name=str(row),
            said=f"scope {row.scope}, until {row.expires_at:%F %H:%M} UTC",
        )  # fmt: skip


def _tokens_revoked(since: datetime, until: datetime) -> Generator[Entry]:
    rows = ApiToken.objects.filter(revoked_at__gte=since, revoked_at__lt=until)
    rows = rows.exclude(pk__in=ApiToken.history.exclude(revoked_at=None).values("id"))
    for row in rows.order_by("revoked_at", "pk").iterator(chunk_size=PIECE):
        assert row.revoked_at is not None
        who, how = _by(row.revoked_by)
        yield Entry(
            at=row.revoked_at, who=who, how=how, what="revoked", kind="API token", name=str(row)
        )


def _people(since: datetime, until: datetime) -> Generator[Entry]:
    """Sign-ins, failed ones, roles, and second factors."""
    rows = PersonEvent.objects.filter(at__gte=since, at__lt=until).order_by("at", "pk")
    for row in rows.iterator(chunk_size=PIECE):
        field = row.said if row.what == PersonEvent.What.EDITED else "role"
        told = bool(row.before or row.after)
        changes = [Change(field=field, before=row.before, after=row.after)] if told else []
        yield Entry(
            at=row.at, who=row.by, how=row.how, what=row.get_what_display(), kind="user",
            name=row.name, changes=changes, address=row.address, said=row.said,
        )  # fmt: skip


def _by(name: str) -> tuple[str, str]:
    """Who, and how: rows of an answer or of a pod keep both in one column."""
    if name.endswith(OVER_API):
        return name.removesuffix(OVER_API), How.API.value
    return name, ""
