"""Whether a goal can be reached with the settings that an operator saves."""

from collections.abc import Collection, Sequence
from typing import Final

from django.core.exceptions import ValidationError

from fleet.decision.field_words import LABELS
from fleet.decision.values import Goal
from fleet.models import Backlog, Fleet
from fleet.tick import ticking
from pods.base.clock import utcnow
from pods.models import Account

# A promise is given when one of these is set. A lower limit afterwards is never refused: it may be
# urgent, and an alert says what follows.
PROMISES: Final = frozenset({"goal", "drain_by"})
UNREAD: Final = "a new address is read after you save"


def may_read(fleet: Fleet) -> bool:
    """Whether its backlog may be read before it is saved: only where a saved fleet's tick reads it.

    Otherwise somebody could try the addresses of a network letter by letter, and leave no trace.
    """
    stored = Fleet.objects.filter(pk=fleet.pk).values_list("backlog", "backlog_url").first()
    if stored == (fleet.backlog, fleet.backlog_url):
        return True
    return not fleet.backlog_url and fleet.backlog != Backlog.CELERY_RABBITMQ


def refuse_wrong(fleet: Fleet, changed: Collection[str] = PROMISES) -> None:
    """Refuse a deadline that is over, or that rests on no offer that stays. Reads no backlog.

    Raises:
        ValidationError: with a message for the field that is wrong.
    """
    if not _promises(fleet, changed) or fleet.drain_by is None:
        return
    if fleet.drain_by <= utcnow():
        moment = f"{fleet.drain_by:%F %H:%M %Z}"
        raise ValidationError({"drain_by": f"{moment} is over; give a moment in the future"})
    query = fleet.offer_query if isinstance(fleet.offer_query, dict) else {}
    if query.get("interruptible") is True:
        raise ValidationError(
            {
                "goal": "a deadline needs offers on demand, and the fleet rents only interruptible "
                f"ones; let it rent both, or choose another {LABELS['goal'].lower()}"
            }
        )


def refuse_impossible(
    fleet: Fleet, changed: Collection[str], accounts: Sequence[Account] | None = None
) -> None:
    """Refuse a deadline that cannot be kept, as far as that is known before anything is rented.

    It reads the backlog, so no transaction may be open. A new fleet has no measured speed, and a new
    address is read after it is saved: the ticks say it then. `accounts`: those that it will have, if
    they change.

    Raises:
        ValidationError: it cannot be kept; the message says what would make it possible.
    """
    refuse_wrong(fleet, changed)
    if fleet.pk is None or not _promises(fleet, changed):
        return
    if why := impossible(fleet, accounts):
        raise ValidationError({"drain_by": why})


def impossible(fleet: Fleet, accounts: Sequence[Account] | None = None) -> str:
    """Why the fleet's deadline cannot be kept, and what would help; "": nothing says so."""
    unread = "" if may_read(fleet) else UNREAD
    decision = ticking.foresee(fleet, accounts=accounts, unread_because=unread).decision
    return decision.risk if decision.impossible else ""


def _promises(fleet: Fleet, changed: Collection[str]) -> bool:
    return fleet.goal == Goal.DEADLINE.value and bool(PROMISES & set(changed))
