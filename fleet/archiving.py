"""Archives fleets, brings them back, and deletes those that no total needs."""

import shlex
from collections import Counter
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, Q, QuerySet, Sum

from fleet import operating
from fleet.datasets import standing
from fleet.decision.values import Mode
from fleet.models import Alert, Batch, Fleet, Sample, Tick
from fleet.models.batches import ENDED
from fleet.tick import archiving, scheduling
from pods import masking
from pods.amounts import usd
from pods.base.clock import utcnow
from pods.base.command_name import how_to_run
from pods.models import MICROS, Pod, PodEvent, PriceSegment
from pods.plural import plural

DELETER: Final = (
    "from django.conf import settings; from pods.base.redis import redis_client; "
    "redis_client(settings.REDIS_URL)"
)
CHUNK: Final = 1000  # small enough that a writer on SQLite waits only milliseconds


def archive(fleet: Fleet, *, when_empty: bool = False, name: str = "", by: str) -> bool:
    """Archive a fleet: hide it, stop its ticks, keep its history; True if it is archived now.

    With `when_empty` a fleet with pods is paused instead, and archived after its last pod has ended;
    its idle and stopped pods are ended meanwhile. `name`: rename it, so that another fleet can have
    its present name; also for a fleet that is archived already.

    Raises:
        ValidationError: a pod of it may bill, or the name is wrong or taken.
        EditedMeanwhile, Overtaken: the fleet changed since it was read.
    """
    if fleet.archived_at is not None and not name:
        raise ValidationError(f"the fleet {fleet.name} is archived already")
    if pods := _billing(fleet):
        if not when_empty or name:
            also = "; it can get another name when it is archived" if name else ""
            raise ValidationError(
                f"{fleet.name} has {pods}; stop them first (`fleet stop-all {fleet.name}`), or let "
                f"it be archived when the last one has ended (`--when-empty`){also}"
            )
        mode = fleet.mode if fleet.mode == Mode.STOP_ALL.value else Mode.PAUSED.value
        _write(fleet, f"to be archived when empty, by {by}", archive_when_empty=True, mode=mode)
        return False
    with transaction.atomic():
        if fleet.archived_at is None:
            archiving.archive_if_empty(fleet, by=by)
        if name:
            _rename(fleet, name, by=by)
    return True


def restore(fleet: Fleet, *, name: str = "", by: str) -> None:
    """Bring an archived fleet back, paused; for one that was to be archived later, cancel that.

    Raises:
        ValidationError: it is in use, its backlog belongs to another fleet by now, or the name is
            wrong or taken.
        EditedMeanwhile: the fleet changed since it was read.
    """
    if fleet.archived_at is None and not fleet.archive_when_empty:
        raise ValidationError(f"the fleet {fleet.name} is not archived")
    operating.refuse_shared_stream(fleet, comes_back=fleet.archived_at is not None)
    with transaction.atomic():
        _write(
            fleet,
            f"brought back by {by}",
            archived_at=None,
            archive_when_empty=False,
            restored_at=utcnow(),
        )
        if name:
            _rename(fleet, name, by=by)
        scheduling.keep_schedule(fleet)
        scheduling.switch(fleet, on=True)


def called(fleet: Fleet, before: str) -> str:
    """The fleet's name, and the one that it had before this if it was renamed."""
    return before if fleet.name == before else f"{fleet.name} (was {before})"


def why_kept(fleet: Fleet) -> str:
    """Why the fleet cannot be deleted, and what is possible instead; "" if it can."""
    if fleet.archived_at is None:
        return (
            f"the fleet {fleet.name} is in use; archive it first (`fleet archive {fleet.name}`), "
            "which hides it and keeps its history"
        )
    if pods := _billing(fleet):
        return f"{fleet.name} has {pods}; wait until they have ended"
    costly = _segments(fleet).filter(Q(until=None) | Q(cost_micros__gt=0))
    if costly.exists():
        spent = (costly.aggregate(micros=Sum("cost_micros"))["micros"] or 0) / MICROS
        return (
            f"the pods of {fleet.name} cost {usd(spent)} in all, and the totals under Spending need "
            "their rows; it stays archived and hidden. To use its name again: "
            f"`fleet archive {fleet.name} --as NEW-NAME`"
        )
    return ""


def delete(fleet: Fleet, *, by: str) -> None:
    """Delete an archived fleet whose pods cost nothing, with its decisions, pods and alerts.

    Who edited it, and when, stays in the history. Safe to kill at any line and to run again.

    Raises:
        ValidationError: it is in use, or a total needs its rows.
        EditedMeanwhile: the fleet changed since it was read.
    """
    if why := why_kept(fleet):
        raise ValidationError(why)
    pods = Pod.objects.filter(fleet=fleet)
    for rows in (
        Tick.objects.filter(fleet=fleet),
        Sample.objects.filter(fleet=fleet),
        Alert.objects.filter(fleet=fleet),
        PodEvent.objects.filter(pod__fleet=fleet),
    ):
        _delete_in_chunks(rows)
    with transaction.atomic():
        operating.claim_version(fleet)
        if why := why_kept(fleet):
            raise ValidationError(why)
        _segments(fleet).delete()
        pods.delete()
        fleet._change_reason = f"deleted by {by}"  # type: ignore[attr-defined]
        schedule = fleet.schedule
        fleet.delete()
        if schedule is not None:
            schedule.delete()


def archived_text(fleet: Fleet) -> str:
    """That the fleet is archived, what nobody works on any more, and what Redis keeps."""
    seen = Tick.objects.filter(fleet=fleet).order_by("-at").values_list("depth", flat=True).first()
    batches = Batch.objects.filter(fleet=fleet).exclude(status__in=ENDED).count()
    left = [plural(seen, "row" if fleet.is_dataset else "item")] if seen else []
    left += [plural(batches, "batch")] if batches else []
    text = f"archived; {left_in_redis(fleet)}"
    if not left:
        return text
    return (
        f"archived with {' and '.join(left)} unfinished, on which no pod works now (`fleet restore "
        f"{fleet.name}` brings it back); {left_in_redis(fleet)}"
    )


def left_in_redis(fleet: Fleet) -> str:
    """What Redis keeps of the fleet's items, and how to remove it."""
    if not fleet.on_stream:
        return f"the queue {fleet.stream} is left as it is"
    keys = [fleet.stream, fleet.result_stream, fleet.dead_stream]
    if fleet.is_dataset:
        keys += [standing.rows_key(fleet.name), standing.FEEDER + fleet.stream]
    if fleet.backlog_url:
        address = masking.without_passwords(fleet.backlog_url)
        how = shlex.join(["redis-cli", "-u", address, "DEL", *keys])
        if masking.MASK in address:
            how += f" ({masking.MASK} stands for its user and password)"
    else:  # the installation's own, whose address and password the settings know
        code = f"{DELETER}.delete(*{keys!r})"
        how = how_to_run(shlex.join(["shell", "-v", "0", "-c", code]))
    return (
        f"Redis keeps the stream {keys[0]} with the group {fleet.group}, {keys[1]} and {keys[2]}; "
        f"to remove them: {how}"
    )


def _billing(fleet: Fleet) -> str:
    """The fleet's pods that may bill, in words: "3 pods that may bill (2 ready, 1 stopped)"."""
    states = Counter(fleet.pods.billable().values_list("state", flat=True))
    if not states:
        return ""
    each = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    disks = "; the disk of a stopped pod bills" if "stopped" in states else ""
    return f"{plural(states.total(), 'pod')} that may bill ({each}{disks})"


def _segments(fleet: Fleet) -> QuerySet[PriceSegment]:
    return PriceSegment.objects.filter(fleet=fleet)


def _write(fleet: Fleet, reason: str, **values: object) -> None:
    with transaction.atomic():
        operating.claim_version(fleet)
        for field, value in values.items():
            setattr(fleet, field, value)
        fleet._change_reason = reason  # type: ignore[attr-defined]
        fleet.save(update_fields=sorted(values))


def _rename(fleet: Fleet, name: str, *, by: str) -> None:
    """Give the fleet another name, and its task too.

    Raises:
        ValidationError: the name is wrong or taken.
    """
    before = fleet.name
    # Only the name: a value that an older version let pass keeps no fleet from being renamed.
    try:
        fleet.name = Fleet._meta.get_field("name").clean(name, fleet)
    except ValidationError as exc:
        raise ValidationError({"name": exc}) from exc
    operating.refuse_rename(fleet, before)
    fleet.validate_unique(exclude={f.name for f in fleet._meta.concrete_fields} - {"name"})
    _write(fleet, f"renamed by {by}", name=name)
    operating.move_keys(fleet, before)
    scheduling.keep_schedule(fleet)


def _delete_in_chunks(rows: QuerySet[Model]) -> None:
    while pks := list(rows.values_list("pk", flat=True)[:CHUNK]):
        rows.model._default_manager.filter(pk__in=pks).delete()
