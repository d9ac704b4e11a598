"""What operators decide about machines of ours that have no row. pods/reconciling.py does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from pods import dispatch
from pods.models import Account, Orphan
from pods.rules import MachineOutcome

log = structlog.get_logger(__name__)
WISHES: Final[Mapping[str, str]] = {
    Account.Orphans.ADOPT: "being adopted",
    Account.Orphans.DESTROY: "being destroyed",
}
FAILED: Final[Mapping[str, str]] = {
    MachineOutcome.NOT_ADOPTED: "Not adopted",
    MachineOutcome.DESTROY_FAILED: "Not destroyed yet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What becomes of a machine, as pages and commands say it."""

    icon: str
    tone: str  # a colour of podfleet.css
    word: str
    more: str  # why, or who decided it


def shown(orphan: Orphan) -> Shown:
    """The state of a machine, with its account at hand."""
    if orphan.gone_at is not None:
        return Shown(icon="✓", tone="grey", word="Handled", more=orphan.outcome)
    if orphan.outcome_kind in FAILED:
        word = FAILED[orphan.outcome_kind]
        return Shown(icon="✖", tone="red", word=word, more=orphan.outcome)
    if orphan.wish:
        word, more = WISHES[orphan.wish].capitalize(), orphan.outcome
        return Shown(icon="◐", tone="blue", word=word, more=more or f"asked by {orphan.wished_by}")
    more = orphan.outcome or f"its account says: {orphan.account.orphans}"
    return Shown(icon="✖", tone="red", word="Bills, belongs to no pod", more=more)


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
