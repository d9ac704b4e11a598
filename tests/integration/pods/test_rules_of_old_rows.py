"""The migration that fills the rules' columns from the texts of older versions."""

from typing import Any, Final

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from pods.models import Account, Pod, PodEvent
from pods.rules import ErrorKind, PodRule
from pods.states import DRAINING, FAILED, LOST, READY, TERMINATED, TERMINATING, PodState
from tests.support.factories import a_fleet, a_pod, an_account

BEFORE: Final = ("pods", "0006_create_refused_at")

# The rule, the state and the texts as a version without rules wrote them.
PODS: Final[list[tuple[str, PodState, dict[str, Any]]]] = [
    ("", READY, {"because": "its agent beats"}),
    ("never_booted", TERMINATED, {"retire_because": "never booted: no agent within 900 s"}),
    ("agent_failed", TERMINATED, {"retire_because": "agent failed: no GPU"}),
    ("agent_ended", TERMINATING, {"retire_because": "agent ended"}),
    ("machine_failed", LOST, {"lost_because": "machine failed: disk", "retire_because": "machine failed: disk"}),
    ("stopped_unasked", LOST, {"lost_because": "stopped unasked: outbid"}),
    ("started_unasked", TERMINATED, {"retire_because": "started unasked: running"}),
    ("absent", LOST, {"lost_because": "absent", "retire_because": "idle: idle for 130 s"}),
    ("silent", TERMINATED, {"retire_because": "silent: no sign for 60 s"}),
    ("hung", TERMINATED, {"retire_because": "hung: has items in hand and acknowledges none"}),
    ("stop_all", TERMINATED, {"retire_because": "stop_all: an operator stopped everything"}),
    ("paused", FAILED, {"because": "paused: before it was created; nothing was asked of the provider"}),
    ("max_instances", DRAINING, {"retire_because": "max_instances: max_instances is 1"}),
    ("max_hourly_usd", DRAINING, {"retire_because": "max_hourly_usd: $1/h pays for 1 of 2 pods"}),
    ("daily_budget_usd", DRAINING, {"retire_because": "daily_budget_usd: today's budget"}),
    ("total_budget_usd", DRAINING, {"retire_because": "total_budget_usd: the budget of $9"}),
    ("installation_daily_budget", DRAINING, {"retire_because": "installation_daily_budget: x"}),
    ("idle", DRAINING, {"retire_because": "idle: idle for 130 s"}),
    ("straggler", TERMINATED, {"retire_because": "straggler: does 30% of the items"}),
    ("max_pod_hours", DRAINING, {"retire_because": "max_pod_hours: older than 5 h"}),
    ("stopped", TERMINATED, {"retire_because": "stopped: max_instances is 1"}),
    ("max_stopped_hours", TERMINATED, {"retire_because": "max_stopped_hours: stopped for 9 h"}),
    ("no_capacity", FAILED, {"because": "NoCapacity: none left"}),
    ("quota_exceeded", FAILED, {"because": "QuotaExceeded: no money"}),
    ("auth_failed", FAILED, {"because": "AuthFailed: 401"}),
    ("not_found", FAILED, {"because": "NotFound: 404"}),
    ("declined", FAILED, {"because": "Declined: no"}),
    ("refused", FAILED, {"because": "the image's name is malformed"}),
    ("no_answer", FAILED, {"because": "no machine was created; 5 tries: no answer"}),
    ("idle", FAILED, {"because": "no machine was created; idle: x", "retire_because": "idle: x"}),
    ("duplicate_machine", FAILED, {"because": "m1 at local belongs to another row"}),
    ("cannot_connect", FAILED, {"because": "env:KEY is empty", "asked_at": None}),
    ("cannot_resume", TERMINATED, {"retire_because": "cannot be resumed: its host is taken"}),
    ("cannot_resume", TERMINATED, {"retire_because": "did not run after 5 tries to start it"}),
    ("operator", TERMINATED, {"retire_because": "destroyed by an operator"}),
    ("operator", DRAINING, {"retire_because": "stopped by an operator"}),
    ("orphan", TERMINATED, {"retire_because": "a machine without a row"}),
    ("other", TERMINATED, {"retire_because": "words of nobody knows whom"}),
]  # fmt: skip

# The rule, and the columns `by`, `after` and `because` of an event.
EVENTS: Final = [
    ("", "spawn", "booting", "created"),
    ("", "teardown", "lost", "absent"),
    ("", "teardown", "terminated", "gone, as the provider confirmed"),
    ("", "health", "", "price 1 → 2 USD/h"),
    ("", "spawn", "terminating", "idle: idle for 130 s"),
    ("silent", "health", "terminating", "silent: no sign for 60 s"),
    ("hung", "health", "terminating", "hung: has items in hand and acknowledges none"),
    ("absent", "health", "lost", "absent"),
    ("straggler", "tick", "draining", "straggler: does 30% of the items"),
    ("paused", "tick", "", "paused: paused before it was created"),
    ("wanted", "tick", "requested", "has 0 pods, starts 1 pod"),
    ("wanted", "tick", "resuming", "stopped pod 7 runs again"),
    ("no_capacity", "spawn", "failed", "NoCapacity: none left"),
    ("refused", "spawn", "failed", "the image's name is malformed"),
    ("refused", "spawn", "terminating", "refused, and bills: no"),
    ("adopted", "adopt", "booting", "found under the name of abc"),
    ("adopted", "reconcile", "booting", "found without a row: adopted"),
    ("orphan", "reconcile", "terminating", "found without a row: destroyed"),
    ("cannot_resume", "resume", "terminating", "cannot be resumed: its host is taken"),
    ("operator", "admin:ann", "draining", "drained by an operator"),
    ("", "admin:ann", "draining", "silent: no sign for 60 s"),
]

ACCOUNTS: Final = [
    ("", ""),
    ("no_capacity", "NoCapacity: none left"),
    ("quota_exceeded", "QuotaExceeded: no money"),
    ("auth_failed", "AuthFailed: 401"),
    ("not_found", "NotFound: 404"),
    ("refused", "Refused: no"),
    ("declined", "Declined: no"),
    ("rate_limited", "RateLimited: 429"),
    ("unavailable", "Unavailable: timeout"),
    ("bad_secret", "BadSecret: env:KEY is empty"),
    ("cannot_connect", "ValueError: pace is -1"),
    ("other", "RuntimeError: ?"),
]


@pytest.mark.django_db(transaction=True)
def test_the_migration_reads_rules_from_old_texts_and_can_be_reversed() -> None:
    fleet = a_fleet(accounts=[an_account()])
    pods = {a_pod(fleet, READY).pk: (rule, state, texts) for rule, state, texts in PODS}
    for pk, (_, state, texts) in pods.items():
        Pod.objects.filter(pk=pk).update(state=state.value, **texts)
    PodEvent.objects.all().delete()
    pod = Pod.objects.order_by("pk")[0]
    for _, by, after, because in EVENTS:
        PodEvent.objects.create(pod=pod, at=pod.state_since, by=by, after=after, because=because)
    for number, (_, text) in enumerate(ACCOUNTS):
        an_account(name=f"old-{number}", last_error=text)
    executor = MigrationExecutor(connection)
    try:
        executor.migrate([BEFORE])
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    assert [(p.retire_rule, p.retire_because) for p in Pod.objects.order_by("pk")] == [
        (rule, texts.get("retire_because", "")) for rule, _, texts in pods.values()
    ]
    assert list(PodEvent.objects.values_list("rule", "by", "after", "because")) == EVENTS
    kinds = Account.objects.filter(name__startswith="old-").order_by("pk")
    assert list(kinds.values_list("last_error_kind", "last_error")) == ACCOUNTS


def test_every_rule_that_old_texts_can_mean_is_tested() -> None:
    # versions with texts alone had no such rule
    later = {
        PodRule.NOT_AS_ORDERED, PodRule.FAILING, PodRule.TOLERATED_FAILURE_PERCENT,
        PodRule.OLD_CODE, PodRule.GOAL, PodRule.BUDGET_USD, PodRule.SAMPLE,
    }  # fmt: skip
    told = {rule for rule, _, _ in PODS} | {rule for rule, *_ in EVENTS}
    assert {r.value for r in set(PodRule) - later} <= told
    assert {k.value for k in ErrorKind} <= {kind for kind, _ in ACCOUNTS}
