"""Reads how the newest pods of a fleet's present template did, from their rows. One query."""

from collections.abc import Collection
from typing import Final

from django.db.models import F, Q
from django.db.models.functions import Coalesce

from fleet.decision import brakes
from fleet.decision.brakes import Try
from fleet.decision.values import Failing
from fleet.models import Fleet
from fleet.tick.requesting import template_hash
from pods.models import Pod
from pods.rules import GAVE_UP_RULES, TRY_RULES, PodRule
from pods.states import ACTIVE

# The pause is the longest one long before.
TRIES_READ: Final = 50
LONGEST_LINE: Final = 120  # characters of the last line of a failed pod's output


def failing_of(fleet: Fleet, working: Collection[int] = ()) -> Failing | None:
    """What fails in a row with the fleet's template; `working`: pods that have finished an item.

    The rows of pods are never deleted, so nothing is forgotten while it lasts.
    """
    ended = Q(retire_rule__in=TRY_RULES) & ~Q(state__in=[s.value for s in ACTIVE])
    rows = (
        Pod.objects.filter(fleet=fleet, template_hash=template_hash(fleet))
        .filter(ended | Q(done__gt=0) | Q(pk__in=working))
        .annotate(ended_when=Coalesce(F("failed_at"), F("state_since")))
        .only("retire_rule", "retire_because", "because", "state", "done", "interruptible",
              "beat_at", "ready_at", "requested_at", "last_output")
        .order_by("-requested_at", "-pk")[:TRIES_READ]
    )  # fmt: skip
    tries = [_try(pod, worked=pod.done > 0 or pod.pk in working) for pod in rows]
    return brakes.failing(tries, try_again_at=fleet.try_again_at)


def _try(pod: Pod, *, worked: bool) -> Try:
    active = pod.status in ACTIVE
    return Try(
        worked=worked,
        rule=None if active or not pod.retire_rule else PodRule(pod.retire_rule),
        interruptible=pod.interruptible,
        beats=pod.beat_at is not None,
        at=pod.requested_at if active else pod.ended_when,  # type: ignore[attr-defined]
        ready_at=pod.ready_at,
        because=_reason(pod),
    )


def _reason(pod: Pod) -> str:
    """Why it ended; where its agent does not say it, with the last line that the machine printed."""
    said = pod.retire_because or pod.because
    last = next((line for line in reversed(pod.last_output.splitlines()) if line.strip()), "")
    if not last or pod.retire_rule in GAVE_UP_RULES | {PodRule.FAILING.value}:
        return said
    return f"{said}; its output ends with {last.strip()[-LONGEST_LINE:]!r}"
