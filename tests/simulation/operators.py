"""What operators do to the fleet: they edit its guardrails, and at the end let it work."""

from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import Any, Final

from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Fleet
from fleet.money import spending
from pods.base.clock import utcnow
from tests.simulation.dice import Dice
from tests.simulation.invariants import Invariants

CALM: Final = {
    "mode": Mode.RUNNING.value,
    "max_instances": 3,
    "spawn_per_tick": 3,
    "max_hourly_usd": None,
    "total_budget_usd": None,
    "daily_budget_usd": None,
    "idle_action": "destroy",
}


class Operators:
    """They edit by the dice; the judge hears of each edit."""

    def __init__(self, fleet: Fleet, dice: Dice, invariants: Invariants) -> None:
        self._fleet_id, self._dice, self._invariants = fleet.pk, dice, invariants
        self._purse = Random(
            f"purse {dice.seed}"
        )  # its own: a seed's other faults stay as they are

    def misbehave(self) -> None:
        """What they do in a step, now and then."""
        if own := self._dice.strikes(0.03, "an operator edits"):
            self._edit(own)

    def spend(self) -> None:
        """Set a budget now and then, of the fleet's life or of the day, or take it away."""
        if self._purse.random() >= 0.02:
            return
        name = self._purse.choice(["total_budget_usd", "daily_budget_usd"])
        spent = spending.spent(utcnow(), fleet_id=self._fleet_id).total
        left = self._purse.choice(["0.02", "0.2", "0.7", None])
        changes = {name: None if left is None else str(round(spent + Decimal(left), 4))}
        self._dice.say(f"an operator edits {changes}")
        self._write(changes)

    def go_on(self) -> None:
        """Let a fleet run that was paused or stopped."""
        if Fleet.objects.get(pk=self._fleet_id).mode != Mode.RUNNING.value:
            self._write({"mode": Mode.RUNNING.value})

    def calm(self) -> None:
        """Three pods are wanted, and may be paid for; who is idle is destroyed."""
        self._write(CALM)

    def _edit(self, dice: Random) -> None:
        changes: dict[str, Any] = dice.choice(
            [
                {"max_instances": dice.randint(0, 4)},
                {"mode": dice.choice(list(Mode)).value},
                {"mode": Mode.RUNNING.value, "max_instances": 3},
                {"max_hourly_usd": dice.choice(["0.5", "1.0", None])},
                {"spawn_per_tick": dice.randint(1, 3)},
                {"idle_action": dice.choice(["stop", "destroy"])},
            ]
        )
        self._dice.say(f"{changes}")
        self._write(changes)

    def _write(self, changes: Mapping[str, Any]) -> None:
        operating.edit(Fleet.objects.get(pk=self._fleet_id), dict(changes), by="operator")
        self._invariants.edited()
