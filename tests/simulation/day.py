"""A day of a fleet: bursts of faults with quiet between them, on a clock that jumps over the quiet.

A day costs what happens in it: 5 s a step within a burst, 30 s until the fleet has settled, and a
quarter of an hour while nothing is on its way.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from unittest import mock

from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Fleet
from pods import dispatch
from pods.clock import utcnow
from pods.models import Pod
from pods.states import PodState
from tests.contract.runpod_rig import Rig
from tests.simulation.history import STEP, History, Violated

HOURS = 24
BURSTS = 12
BURST_STEPS = 14  # of 5 s
FURY = 2.5  # how many times likelier a fault is than in a history without quiet
SETTLING = 30.0
QUIET = 900.0
LONGEST_SETTLING = timedelta(hours=1)
CALM_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What a day came to."""

    seed: int
    faults: int
    fault_numbers: int  # the spared ones included
    hours: float
    pods: int
    fingerprint: str  # of the trace: the same seed gives the same one
    violation: str = ""


class Day(History):
    """Twenty-four hours and a calm end."""

    def live(self, *, bursts: int = BURSTS) -> None:
        """Each burst, and the quiet after it.

        Raises:
            Violated: an invariant did not hold, or the fleet did not settle.
        """
        part = timedelta(hours=HOURS) / bursts
        for _ in range(bursts):
            end = utcnow() + part
            self._burst()
            self._settle()
            if self.random.random() < 0.2:
                self._beat_is_silent()
            self._rest_until(end)
        self.pace = STEP
        self.calm(CALM_SECONDS)
        self.check_history()

    def _burst(self) -> None:
        self.faulty, self.fury, self.pace = True, FURY, STEP
        self.add_items(self.random.randint(0, 40))
        for _ in range(BURST_STEPS):
            self.step()

    def _settle(self) -> None:
        """No faults any more: within an hour nothing is on its way and nothing unknown (L2, L3)."""
        self.faulty, self.pace = False, SETTLING
        self.rig.server.faults.clear()
        fleet = Fleet.objects.get(pk=self.fleet.pk)
        if fleet.mode == Mode.PAUSED.value:
            operating.edit(fleet, {"mode": Mode.RUNNING.value}, by="operator")
        end = utcnow() + LONGEST_SETTLING
        while self._unsettled():
            if utcnow() > end:
                left = list(Pod.objects.in_transit().values_list("pk", "state", "note"))
                raise Violated(f"L2, L3: unsettled after an hour: {left} {[*self.unowned_since]}")
            self.step()

    def _unsettled(self) -> bool:
        return bool(self.queue or self.unowned_since) or Pod.objects.in_transit().exists()

    def _beat_is_silent(self) -> None:
        """Nothing is sent for up to an hour (F43)."""
        self.faults += 1
        seconds = self.random.randint(600, 3600)
        self.say(f"beat is silent for {seconds} s")
        self.rig.clock.advance(seconds)

    def _rest_until(self, end: datetime) -> None:
        while utcnow() < end:
            self.pace = SETTLING if self._unsettled() else QUIET
            self.step()


def live(
    rig: Rig,
    redis_url: str,
    seed: int,
    *,
    bursts: int = BURSTS,
    spared: Collection[int] = (),
) -> Lived:
    """The day of a seed, without the faults of these numbers; a violation tells the trace's end."""
    started = utcnow()
    day = Day(rig, redis_url, seed)
    day.spared = frozenset(spared)
    violation = ""

    def next_step(pod_id: int, state: PodState, *, countdown: float = 0) -> None:
        task = dispatch.STEP_OF.get(state)
        if task is not None:
            day.send(task, pod_id, countdown=countdown)

    with (
        mock.patch.object(dispatch, "send", day.send),
        mock.patch("pods.tasks.dispatch.next_step", next_step),
    ):
        try:
            day.live(bursts=bursts)
        except (Violated, AssertionError) as exc:
            violation = "\n".join([f"seed {seed}: {exc}", *day.trace[-40:]])
    return Lived(
        seed=seed,
        faults=day.faults,
        fault_numbers=day.fault_number,
        hours=(utcnow() - started).total_seconds() / 3600,
        pods=Pod.objects.count(),
        fingerprint=sha256("\n".join(day.trace).encode()).hexdigest(),
        violation=violation,
    )
