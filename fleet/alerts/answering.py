"""What people answer to an alert: acknowledge, snooze, take back. Each leaves a row that says who."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from fleet.models import Alert, AlertAnswer
from pods.base.clock import utcnow
from pods.base.near import refuse_far

What = AlertAnswer.What


def acknowledge(alerts: Iterable[Alert], *, by: str) -> int:
    """Silence alerts until their cause ends; return how many were open and not acknowledged."""
    new = {"acknowledged_at": utcnow(), "acknowledged_by": by[:150]}
    return _answer(alerts, Q(acknowledged_at=None), new, What.ACKNOWLEDGED, by=by)


def snooze(alerts: Iterable[Alert], *, until: datetime, by: str) -> int:
    """Silence open alerts until a moment; then they are announced again if their cause lasts.

    Raises:
        ValueError: the moment is not in the future, or more than ten years away.
    """
    refuse_far(until)
    if until <= utcnow():
        raise ValueError(f"{until:%F %T} is in the past; give a time in the future")
    new = {"snoozed_until": until, "snoozed_by": by[:150]}
    return _answer(alerts, Q(), new, What.SNOOZED, by=by, until=until)


def take_back(alerts: Iterable[Alert], *, by: str) -> int:
    """Undo what silenced open alerts, as if nobody had answered; return how many were silent.

    They are not announced again for that; a round that rose while they were silent is.
    """
    new = {"acknowledged_at": None, "acknowledged_by": "", "snoozed_until": None, "snoozed_by": ""}
    silent = Q(acknowledged_at__isnull=False) | Q(snoozed_until__gt=utcnow())
    return _answer(alerts, silent, new, What.TAKEN_BACK, by=by)


def _answer(
    alerts: Iterable[Alert],
    only: Q,
    new: dict[str, Any],
    what: What,
    *,
    by: str,
    until: datetime | None = None,
) -> int:
    """Change each open alert that fits, with its row; two people at once leave one of them."""
    done = 0
    for alert in alerts:
        with transaction.atomic():
            if Alert.objects.open().filter(only, pk=alert.pk).update(**new):
                AlertAnswer.objects.create(
                    alert=alert, at=utcnow(), what=what, by=by[:150], until=until
                )
                done += 1
    return done
