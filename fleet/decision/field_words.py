"""What people call the fields of a fleet and of the limits, and the rules of a decision. Pure."""

from collections.abc import Collection, Mapping
from typing import Final

from fleet.decision.values import Rule

LABELS: Final[Mapping[str, str]] = {
    "name": "Name",
    "mode": "Mode",
    "image": "Image",
    "handler": "Handler",
    "backlog": "Kind of backlog",
    "backlog_url": "Address",
    "redis_route": "Way of rented pods to Redis",
    "stream": "Stream or queue",
    "group": "Consumer group",
    "accounts": "Accounts",
    "offer_query": "What to rent",
    "archive_when_empty": "Archive when empty",
    "goal": "Goal",
    "drain_by": "Done by",
    "budget_usd": "Budget of the goal",
    "max_instances": "Max pods",
    "max_hourly_usd": "Highest spend per hour",
    "daily_budget_usd": "Budget per day",
    "total_budget_usd": "Budget in all",
    "min_instances": "Min pods",
    "target_depth_per_pod": "Items that justify a pod",
    "spawn_per_tick": "New pods in one tick",
    "min_busy_percent": "Min busy share",
    "idle_action": "What happens to an idle pod",
    "max_stopped_hours": "Keep a stopped pod for",
    "max_pod_hours": "Oldest pod",
    "alert_after_hours": "Alert about a pod older than",
    "batch_size": "Most items in a batch",
    "target_batch_seconds": "A batch should take",
    "max_deliveries": "Tries of an item",
    "tolerated_failure_percent": "Tolerated failed rows",
    "results": "Result stream",
    "longest_results": "Results to keep",
    "reply_to": "Further result streams",
    "handler_env": "Variables of the handler",
    "tags": "Tags",
    "gpu_count": "GPUs of a pod",
    "start_command": "Start command",
    "disk_gb": "Disk",
    "boot_seconds": "Boot",
    "heartbeat_seconds": "Heartbeat",
    "silent_seconds": "Silent",
    "idle_seconds": "Idle",
    "drain_seconds": "Drain",
    "orphan_seconds": "No manager",
    "claim_idle_seconds": "Take over an item after",
    "handler_timeout_seconds": "Longest batch",
    "notice_seconds": "Hand back after SIGTERM within",
}
# The limits of the whole installation, each by its field.
LIMITS: Final[Mapping[str, str]] = {
    "mode": "Mode of all fleets",
    "max_instances": "Most pods at once, all fleets",
    "max_hourly_usd": "Highest spend per hour, all fleets",
    "daily_budget_usd": "Budget per day, all fleets",
}
# The rules of a decision: the field that lifts one, else what it looks at.
RULES: Final[Mapping[Rule, str]] = {
    Rule.OVERRIDE: "Manual hold",
    Rule.UNKNOWN: "Backlog unknown",
    Rule.DEMAND: "Items waiting",
    Rule.DRAIN_BY: LABELS["drain_by"],
    Rule.GOAL_BUDGET: "As fast as the budget allows",
    Rule.CHEAPEST: "At the lowest cost",
    Rule.MIN_INSTANCES: LABELS["min_instances"],
    Rule.NEW_CODE: "New code",
    Rule.STOP_ALL: "Stop",
    Rule.PAUSED: "Pause",
    Rule.SAMPLE: "Sample of a quote",
    Rule.MAX_INSTANCES: LABELS["max_instances"],
    Rule.ROOM: "Max pods, with those that end",
    Rule.INSTALLATION_INSTANCES: LIMITS["max_instances"],
    Rule.MAX_HOURLY_USD: LABELS["max_hourly_usd"],
    Rule.INSTALLATION_HOURLY_USD: LIMITS["max_hourly_usd"],
    Rule.DAILY_BUDGET_USD: LABELS["daily_budget_usd"],
    Rule.TOTAL_BUDGET_USD: LABELS["total_budget_usd"],
    Rule.INSTALLATION_DAILY_BUDGET: LIMITS["daily_budget_usd"],
    Rule.BUDGET_USD: LABELS["budget_usd"],
    Rule.CANARY: "First pod on trial",
    Rule.BRAKE: "Failing pods",
    Rule.ALL_FAIL: "Failing items",
    Rule.TOLERATED_FAILURE_PERCENT: LABELS["tolerated_failure_percent"],
    Rule.MIN_BUSY_PERCENT: LABELS["min_busy_percent"],
    Rule.TAKEABLE: "Items not taken yet",
    Rule.RANGES: "Ranges of rows left",
    Rule.WORTH_BOOTING: "Done before a pod boots",
    Rule.NO_OFFERS: "Nothing to rent",
    Rule.SPAWN_PER_TICK: LABELS["spawn_per_tick"],
}


def edited(changes: Collection[str], by: str, words: Mapping[str, str] = LABELS) -> str:
    """What an edit set, for people: `set Max pods, Image by ann`."""
    names = (words.get(name) or name.replace("_", " ").capitalize() for name in sorted(changes))
    return f"set {', '.join(names)} by {by}"


def rule_words(name: str) -> str:
    """The words of a rule; those of its name if only a later version knows it."""
    known = next((words for rule, words in RULES.items() if rule.value == name), None)
    return known or name.replace("_", " ").capitalize()
