"""What operators decide about machines of ours that have no row. pods/reconciling.py does it."""

import structlog

from pods import dispatch
from pods.models import Account, Orphan

log = structlog.get_logger(__name__)


def decide(orphan_id: int, wish: Account.Orphans, *, by: str) -> bool:
    """Have a machine adopted or destroyed; False if it has a row by now, or is gone.

    The wish is written, and a reconciliation of its account is sent. If that message is lost, or this
    process ends before it is sent, the next reconciliation does the same within a minute. It waits
    until a spawn could not be about to store the machine's id: then the machine would have a row.
    """
    there = Orphan.objects.filter(pk=orphan_id, gone_at=None)
    if not there.update(wish=wish.value, wished_by=by[:60], outcome="", outcome_kind=""):
        return False
    account_id = Orphan.objects.values_list("account", flat=True).get(pk=orphan_id)
    log.info("orphan_decided", orphan=orphan_id, wish=wish.value, by=by)
    dispatch.send(dispatch.RECONCILE, account_id)
    return True
