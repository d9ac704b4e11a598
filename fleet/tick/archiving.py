"""Archives a fleet without pods: it is hidden, nothing ticks it any more, and its history stays."""

from functools import partial

from django.db import transaction
from django.db.models import F

from fleet import fits
from fleet.code import channel as code
from fleet.decision.values import Mode
from fleet.models import Fleet, Shadow
from fleet.secrets import channel
from fleet.tick import scheduling
from pods.base.clock import utcnow
from pods.lifecycle import Overtaken


def archive_if_empty(fleet: Fleet, *, by: str) -> bool:
    """Archive the fleet as it was read; False if one of its pods may bill.

    Raises:
        Overtaken: the fleet was edited, or a pod appeared, since it was read.
    """
    if fleet.pods.billable().exists():
        return False
    with transaction.atomic():
        # First the version: a tick that starts pods at this moment waits, and then finds it changed.
        same = Fleet.objects.filter(pk=fleet.pk, version=fleet.version)
        if not same.update(version=F("version") + 1):
            raise Overtaken(f"somebody else changed {fleet.name} meanwhile")
        if fleet.pods.billable().exists():
            raise Overtaken(f"a pod of {fleet.name} appeared meanwhile")
        fleet.version += 1
        fleet.mode, fleet.archived_at = Mode.PAUSED.value, utcnow()
        fleet.archive_when_empty = False
        fleet._change_reason = f"archived by {by}"  # type: ignore[attr-defined]
        fleet.save(update_fields=["mode", "archived_at", "archive_when_empty"])
        scheduling.switch(fleet, on=False)
        Shadow.objects.filter(fleet=fleet).delete()
        # by its present name: who archives it may also rename it
        transaction.on_commit(partial(channel.forget, fleet, fleet.name))
        transaction.on_commit(partial(code.forget, fleet, fleet.name))
        transaction.on_commit(partial(fits.forget, fleet, fleet.name))
    return True
