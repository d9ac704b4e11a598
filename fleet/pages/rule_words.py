"""The rules of a decision in the words of the forms: "held at 3 by Max pods"."""

from collections.abc import Mapping
from typing import Final

from fleet.decision.values import Rule

RULES: Final[Mapping[Rule, str]] = {
    Rule.OVERRIDE: "Manual hold",
    Rule.UNKNOWN: "Backlog unknown",
    Rule.DEMAND: "Items waiting",
    Rule.MIN_INSTANCES: "Min pods",
    Rule.STOP_ALL: "Stop",
    Rule.PAUSED: "Pause",
    Rule.MAX_INSTANCES: "Max pods",
    Rule.ROOM: "Max pods, with those that end",
    Rule.INSTALLATION_INSTANCES: "Max pods of all fleets",
    Rule.MAX_HOURLY_USD: "Highest spend per hour",
    Rule.INSTALLATION_HOURLY_USD: "Highest spend per hour of all fleets",
    Rule.DAILY_BUDGET_USD: "Budget per day",
    Rule.TOTAL_BUDGET_USD: "Budget in total",
    Rule.INSTALLATION_DAILY_BUDGET: "Budget per day of all fleets",
    Rule.CANARY: "First pod on trial",
    Rule.BRAKE: "Failing pods",
    Rule.ALL_FAIL: "Failing items",
    Rule.MIN_BUSY_PERCENT: "Min use of pods",
    Rule.TAKEABLE: "Items not taken yet",
    Rule.WORTH_BOOTING: "Done before a pod boots",
    Rule.NO_OFFERS: "Nothing to rent",
    Rule.SPAWN_PER_TICK: "Max new pods per tick",
}


def rule_words(name: str) -> str:
    """The words of a rule; those of its name if only a later version knows it."""
    known = next((words for rule, words in RULES.items() if rule.value == name), None)
    return known or name.replace("_", " ").capitalize()
