"""The operators: they edit guardrails and end pods, also while a task waits for a vendor's answer."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any, Final

from django.db import connection

from fleet import letters, operating
from fleet.decision.values import Goal, Mode
from fleet.letters import LetterVerb
from fleet.models import Fleet, Limits
from fleet.money import spending
from pods import teardown
from pods.accounts.connecting import CannotConnect
from pods.base.clock import utcnow
from pods.lifecycle import Overtaken
from pods.models import Pod
from pods.rules import PodRule
from tests.simulation.draws import Draws
from tests.simulation.invariants import Invariants
from tests.simulation.limits import Violated
from tests.simulation.worker import Worker

NO_LIMITS: Final = {"max_instances": None, "max_hourly_usd": None, "daily_budget_usd": None}
END_SETTINGS: Final = {
    "mode": Mode.RUNNING.value,
    "max_instances": 3,
    "max_hourly_usd": None,
    "total_budget_usd": None,
    "daily_budget_usd": None,
    "min_busy_percent": 50,
    "idle_action": "destroy",
    "goal": Goal.DEMAND.value,
}
TRIES: Final = 3  # of the pages, which read the row again where it has changed


class Operators:
    """They make random edits, and report each edit to the invariants."""

    def __init__(
        self, fleets: Sequence[Fleet], draws: Draws, invariants: Invariants, worker: Worker
    ) -> None:
        self._ids, self._draws = [fleet.pk for fleet in fleets], draws
        self._invariants, self._worker = invariants, worker

    def act_sometimes(self) -> None:
        """Edit a guardrail or end a pod, if the draw says so."""
        for fleet_id in self._ids:
            if own := self._draws.occurs(0.03, f"an operator edits fleet {fleet_id}"):
                self._request(partial(self._edit, fleet_id, own))
            if own := self._draws.occurs(0.01, f"an operator sets a budget of fleet {fleet_id}"):
                self._request(partial(self._set_budget, fleet_id, own))
        if len(self._ids) > 1 and (
            own := self._draws.occurs(0.03, "an operator edits the installation's limits")
        ):
            self._request(partial(self._edit_installation, own))
        if own := self._draws.occurs(0.03, "an operator ends a pod"):
            self._request(partial(self._end_a_pod, own))

    def act_during(self, call: str) -> None:
        """Act while a task's call to a vendor is on its way, if the draw says so.

        Raises:
            Violated: the task holds a transaction while it waits.
        """
        if connection.in_atomic_block:
            raise Violated(f"a transaction is open {call}")
        if not call.startswith("before "):
            return
        if own := self._draws.occurs(0.01, f"an operator acts {call}"):
            acts: list[Callable[[Random], None]] = [
                self._end_a_pod,
                self._end_a_pod,
                partial(self._edit, own.choice(self._ids)),
            ]
            self._worker.meanwhile(partial(own.choice(acts), own))

    def resume(self) -> None:
        """Let the fleets run that are paused or stopped."""
        for fleet in Fleet.objects.exclude(mode=Mode.RUNNING.value).order_by("pk"):
            self._write(fleet.pk, {"mode": Mode.RUNNING.value})
        if Limits.get().mode != Mode.RUNNING.value:
            self._limit({"mode": Mode.RUNNING.value})

    def prepare_end(self, *, spawn_per_tick: int) -> None:
        """Allow three pods of each fleet without a price limit; idle pods are destroyed."""
        self._limit({**NO_LIMITS, "mode": Mode.RUNNING.value})
        for fleet_id in self._ids:
            self._write(fleet_id, {**END_SETTINGS, "spawn_per_tick": spawn_per_tick})

    def set_goal(self, fleet_id: int, changes: Mapping[str, str]) -> None:
        """Give a fleet a goal.

        Raises:
            ValidationError: the goal is impossible.
        """
        self._write(fleet_id, changes)

    def drop_dead_letters(self) -> None:
        """Delete the items that failed for good, so that their alerts end."""
        for fleet in Fleet.objects.filter(pk__in=self._ids).order_by("pk"):
            letters.handle(fleet, LetterVerb.DROP, None, by="operator")

    def _request(self, act: Callable[[], None]) -> None:
        """Act in a web process, which may be killed at any of its calls."""
        try:
            self._worker.run("an operator's request", act)
        finally:
            self._invariants.edited()

    def _edit(self, fleet_id: int, random: Random) -> None:
        changes: dict[str, Any] = random.choice(
            [
                {"max_instances": random.randint(0, 4)},
                {"mode": random.choice(list(Mode)).value},
                {"mode": Mode.RUNNING.value, "max_instances": 3},
                {"max_hourly_usd": random.choice(["0.5", "1.0", None])},
                {"spawn_per_tick": random.randint(1, 3)},
                {"idle_action": random.choice(["stop", "destroy"])},
                {"min_busy_percent": random.choice([0, 50, 100])},
            ]
        )
        self._draws.record(f"{changes}")
        self._write(fleet_id, changes)

    def _set_budget(self, fleet_id: int, random: Random) -> None:
        name = random.choice(["total_budget_usd", "daily_budget_usd"])
        spent = spending.spent(utcnow(), fleet_id=fleet_id).total
        left = random.choice(["0.02", "0.2", "0.7", None])
        changes = {name: None if left is None else str(round(spent + Decimal(left), 4))}
        self._draws.record(f"{changes}")
        self._write(fleet_id, changes)

    def _edit_installation(self, random: Random) -> None:
        spent = spending.spent(utcnow()).today
        changes: dict[str, Any] = random.choice(
            [
                {"max_instances": random.randint(1, 5)},
                {"max_instances": random.randint(1, 3)},
                {"max_hourly_usd": Decimal(random.choice(["0.5", "1.0", "2.0"]))},
                {"daily_budget_usd": round(spent + Decimal(random.choice(["0.1", "1"])), 4)},
                {"mode": random.choice(list(Mode)).value},
                dict(NO_LIMITS),
            ]
        )
        self._draws.record(f"{changes}")
        self._limit(changes)

    def _end_a_pod(self, random: Random) -> None:
        """Drain or destroy a pod, as a page does: on the row as it is now."""
        living = list(Pod.objects.billable().order_by("pk"))
        if not living:
            return
        pod, drain = random.choice(living), random.random() < 0.5
        for _ in range(TRIES):
            try:
                done = teardown.retire_pod(
                    pod, by="operator", rule=PodRule.OPERATOR, because="by an operator", drain=drain
                )
            except Overtaken:
                pod.refresh_from_db()
            except CannotConnect:
                return
            else:
                self._draws.record(f"an operator ends pod {pod.pk} ({pod.state}): {done}")
                if done:
                    self._invariants.ended_by_operators.add(pod.pk)
                return

    def _write(self, fleet_id: int, changes: Mapping[str, Any]) -> None:
        try:
            operating.edit(Fleet.objects.get(pk=fleet_id), dict(changes), by="operator")
        except operating.EditedMeanwhile:  # this process was frozen
            self._draws.record("an edit is refused, because another one came first")
        self._invariants.edited()

    def _limit(self, changes: Mapping[str, Any]) -> None:
        """Save the installation's limits, as its page does."""
        limits = Limits.get()
        for name, value in changes.items():
            setattr(limits, name, value)
        limits.save()
        self._invariants.edited()
