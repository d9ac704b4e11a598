"""The operators: they edit the fleet's guardrails, and at the end let it work."""

from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import Any, Final

from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Fleet
from fleet.money import spending
from pods.base.clock import utcnow
from tests.simulation.draws import Draws
from tests.simulation.invariants import Invariants

END_SETTINGS: Final = {
    "mode": Mode.RUNNING.value,
    "max_instances": 3,
    "spawn_per_tick": 3,
    "max_hourly_usd": None,
    "total_budget_usd": None,
    "daily_budget_usd": None,
    "idle_action": "destroy",
}


class Operators:
    """They make random edits, and report each edit to the invariants."""

    def __init__(self, fleet: Fleet, draws: Draws, invariants: Invariants) -> None:
        self._fleet_id, self._draws, self._invariants = fleet.pk, draws, invariants
        # Draws of their own, so that a seed's other faults stay as they were before budgets came. The
        # text is part of the seed.
        self._budget_random = Random(f"purse {draws.seed}")

    def edit_sometimes(self) -> None:
        """Edit a guardrail, if the draw says so."""
        if own := self._draws.occurs(0.03, "an operator edits"):
            self._edit(own)

    def set_budget_sometimes(self) -> None:
        """Set or remove the total or the daily budget, if the draw says so."""
        if self._budget_random.random() >= 0.02:
            return
        name = self._budget_random.choice(["total_budget_usd", "daily_budget_usd"])
        spent = spending.spent(utcnow(), fleet_id=self._fleet_id).total
        left = self._budget_random.choice(["0.02", "0.2", "0.7", None])
        changes = {name: None if left is None else str(round(spent + Decimal(left), 4))}
        self._draws.record(f"an operator edits {changes}")
        self._write(changes)

    def resume(self) -> None:
        """Let the fleet run if it is paused or stopped."""
        if Fleet.objects.get(pk=self._fleet_id).mode != Mode.RUNNING.value:
            self._write({"mode": Mode.RUNNING.value})

    def prepare_end(self) -> None:
        """Allow three pods without a price limit; idle pods are destroyed."""
        self._write(END_SETTINGS)

    def _edit(self, random: Random) -> None:
        changes: dict[str, Any] = random.choice(
            [
                {"max_instances": random.randint(0, 4)},
                {"mode": random.choice(list(Mode)).value},
                {"mode": Mode.RUNNING.value, "max_instances": 3},
                {"max_hourly_usd": random.choice(["0.5", "1.0", None])},
                {"spawn_per_tick": random.randint(1, 3)},
                {"idle_action": random.choice(["stop", "destroy"])},
            ]
        )
        self._draws.record(f"{changes}")
        self._write(changes)

    def _write(self, changes: Mapping[str, Any]) -> None:
        operating.edit(Fleet.objects.get(pk=self._fleet_id), dict(changes), by="operator")
        self._invariants.edited()
