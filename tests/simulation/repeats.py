"""S19: the same failure does not rent a fourth pod within its pause, and has one open alert."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from fleet.decision.alert_facts import Cause
from fleet.models import Alert, Fleet
from pods.base.clock import utcnow
from pods.models import Pod, PodEvent
from pods.rules import PodRule
from tests.simulation.limits import Violated

FEWEST: Final = 3  # failures in a row
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=75), timedelta(hours=1)  # it doubles (guardrails.md)
# A tick may have read its facts before a failure was written, and have stood still since.
READ_BEFORE: Final = timedelta(seconds=90)
TOLD_WITHIN: Final = timedelta(minutes=5)  # by the next tick and the next look at the alerts


def pause_after(failures: int) -> timedelta:
    """The pause that the documentation promises after so many failures in a row."""
    factor: int = 2 ** (failures - 1)
    return min(FIRST_PAUSE * factor, LONGEST_PAUSE)


def failures_before(pod: Pod, at: datetime) -> list[datetime]:
    """When the newest pods of its template failed one after another, as known at that time.

    Only agents that said that they cannot work count, and that never finished an item.
    """
    failed: list[datetime] = []
    rows = Pod.objects.filter(fleet=pod.fleet_id, template_hash=pod.template_hash, pk__lt=pod.pk)
    for row in rows.order_by("-pk")[:20]:
        if row.done:
            break
        if row.retire_rule == PodRule.AGENT_FAILED.value and row.failed_at and row.failed_at <= at:
            failed.append(row.failed_at)
    return failed


class Repeats:
    """Checks each pod that a tick requests, and the alerts of what fails again and again."""

    def __init__(self, *, slack: timedelta) -> None:
        """`slack`: by how much the times that two hosts wrote may differ."""
        self._slack = slack

    def check(self, events: Sequence[PodEvent]) -> None:
        """Check the pods that ticks have requested since the last step.

        Raises:
            Violated: S19.
        """
        wanted = [e.pod_id for e in events if not e.before and e.by == "tick"]
        for pod in Pod.objects.filter(pk__in=wanted).order_by("pk"):
            failed = failures_before(pod, pod.requested_at - READ_BEFORE - self._slack)
            if len(failed) < FEWEST:
                continue
            asked = Fleet.objects.get(pk=pod.fleet_id).try_again_at
            until = max(failed) + pause_after(len(failed)) - self._slack
            if pod.requested_at < until and (asked is None or asked < max(failed)):
                raise Violated(
                    f"S19: pod {pod.pk} was requested at {pod.requested_at:%H:%M:%S}, within the "
                    f"pause until {until:%H:%M:%S} after {len(failed)} failures"
                )

    def check_alerts(self, fleet: Fleet, reason: str) -> None:
        """Check that what fails has one alert with its reason, once ticks and alerts have run.

        Raises:
            Violated: S19.
        """
        newest = Pod.objects.filter(fleet=fleet).order_by("-pk").first()
        if newest is None:
            return
        rows = Pod.objects.filter(fleet=fleet, template_hash=newest.template_hash)
        failed: list[datetime] = []
        for row in rows.order_by("-pk")[:20]:
            if row.done or row.state in {"ready", "booting"}:
                break
            if row.retire_rule == PodRule.AGENT_FAILED.value and row.failed_at:
                failed.append(row.failed_at)
        if len(failed) < FEWEST or max(failed) > utcnow() - TOLD_WITHIN - self._slack:
            return
        texts = Alert.objects.open().filter(cause=Cause.BOOTS_FAIL.value, fleet=fleet)
        found = list(texts.values_list("text", flat=True))
        if len(found) != 1 or reason not in found[0]:
            raise Violated(f"S19: {len(failed)} pods of {fleet} failed, its alerts are {found}")
