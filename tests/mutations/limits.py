"""The lines that keep a decision within its limits, also when the backlog is unknown."""

from typing import Final

from tests.mutations.mutation import Mutation

DECIDE = "tests/unit/fleet/decision/test_decide.py::"
TICKS = "tests/integration/fleet/tick/test_ticking.py::"
STILL = "tests/integration/faults/test_standing_still.py::"
TICKING, GUARDRAILS = "fleet/tick/ticking.py", "fleet/decision/guardrails.py"
NEW_PODS = "at_most=len(seen.active) + policy.spawn_per_tick"

CLEANING = "tests/integration/config/test_cleaning.py::"
ARCHIVING = "tests/integration/fleet/test_archiving.py::"

LIMITS: Final = (
    Mutation(
        name="archived-fleets-are-not-ticked",
        file=TICKING,
        before="fleet.archived_at is not None or",
        after="False or",
        tests=(ARCHIVING + "test_an_archived_fleet_is_hidden_and_nothing_ticks_it",),
    ),
    Mutation(
        name="no-archive-over-pods",
        file="fleet/archiving.py",
        before="if pods := _billing(fleet):\n        if not when_empty",
        after='if pods := "":\n        if not when_empty',
        tests=(ARCHIVING + "test_a_fleet_with_a_pod_that_may_bill_is_not_archived",),
    ),
    Mutation(
        name="no-clean-over-pods",
        file="config/cleaning.py",
        before="    if pods:\n        return _text(pods)",
        after="",
        tests=(CLEANING + "test_by_force_it_only_warns",),
    ),
    Mutation(
        name="no-clean-without-a-look",
        file="config/cleaning.py",
        before='return f"the database cannot be read, and',
        after='return "" and f"the database cannot be read, and',
        tests=(CLEANING + "test_a_table_that_cannot_be_read_keeps_the_folder",),
    ),
    Mutation(
        name="archive-as-it-was-read",
        file="fleet/tick/archiving.py",
        before="filter(pk=fleet.pk, version=fleet.version)",
        after="filter(pk=fleet.pk)",
        tests=(ARCHIVING + "test_a_pod_that_appears_meanwhile_keeps_the_fleet",),
    ),
    Mutation(
        name="no-adoption-into-an-archived-fleet",
        file="fleet/tick/requesting.py",
        before="filter(pk=fleet_id, archived_at=None)",
        after="filter(pk=fleet_id)",
        tests=(ARCHIVING + "test_a_machine_of_an_archived_fleet_is_ended_and_not_adopted",),
    ),
    Mutation(
        name="archived-money-counts",
        file="fleet/decision/alerts.py",
        before="facts.archived_today_usd)",
        after="Decimal(0))",
        tests=(ARCHIVING + "test_the_money_of_an_archived_fleet_stays_in_every_total",),
    ),
    Mutation(
        name="lease",
        file=TICKING,
        before="Q(until__isnull=True) | Q(until__lt=now), fleet=fleet",
        after="fleet=fleet",
        tests=(TICKS + "test_a_second_tick_at_the_same_time_leaves_at_once",),
    ),
    Mutation(
        name="lease-swap",
        file=TICKING,
        before="fleet=fleet, token=seen.token\n",
        after="fleet=fleet\n",
        tests=(
            STILL + "test_a_tick_that_stands_still_does_not_get_a_token_that_another_tick_used",
        ),
    ),
    Mutation(
        name="lease-at-commit",
        file=TICKING,
        before='Lease.objects.filter(fleet=fleet, token=token).update(holder="")',
        after="True",
        tests=(TICKS + "test_a_slow_holder_finds_its_token_out_of_date_and_writes_nothing",),
    ),
    Mutation(
        name="lease-ends",
        file=TICKING,
        before=" | Q(until__lt=now)",
        after="",
        tests=(TICKS + "test_a_killed_holder_blocks_for_the_lease_and_no_longer",),
    ),
    Mutation(
        name="count-again-at-commit",
        file=TICKING,
        before="if set(now_there) - counted:",
        after="if False:",
        tests=(
            TICKS + "test_a_pod_that_appears_during_the_tick_is_counted_before_anything_starts",
        ),
    ),
    Mutation(
        name="limits-of-the-installation-at-commit",
        file=TICKING,
        before="            _still_fits(fleet, gathered)\n",
        after="",
        tests=(
            "tests/integration/fleet/tick/test_installation_limits.py::"
            "test_a_tick_starts_nothing_if_another_fleet_started_pods_since_it_counted",
        ),
    ),
    Mutation(
        name="orphans-of-other-fleets-count",
        file="fleet/tick/gathering.py",
        before="pods=len(prices) + orphans,",
        after="pods=len(prices),",
        tests=(
            "tests/integration/fleet/tick/test_installation_limits.py::"
            "test_machines_without_a_row_outside_the_fleet_count_for_the_installation",
        ),
    ),
    Mutation(
        name="guardrails-at-commit",
        file=TICKING,
        before="            _still_asked_for(fleet, gathered)\n",
        after="",
        tests=(
            STILL
            + "test_a_tick_that_stood_still_starts_nothing_if_guardrails_were_edited_meanwhile",
        ),
    ),
    Mutation(
        name="replace-a-pod-that-takes-nothing",
        file="fleet/decision/stragglers.py",
        before="if useless := _useless(seen, gone):",
        after="if useless := None:",
        tests=(
            "tests/unit/fleet/decision/test_stragglers.py::"
            "test_a_pod_that_takes_nothing_while_items_wait_is_replaced_also_when_it_is_the_only_one",
        ),
    ),
    Mutation(
        name="send-on-commit",
        file="pods/dispatch.py",
        before="transaction.on_commit(partial(_publish, task, args, countdown))",
        after="_publish(task, args, countdown)",
        tests=(TICKS + "test_a_tick_writes_its_decision_and_new_pods_and_sends_on_commit",),
    ),
    Mutation(
        name="count-requested",
        file="pods/models/pods.py",
        before="state__in=[s.value for s in ENDED])",
        after='state__in=["requested", *(s.value for s in ENDED)])',
        tests=(TICKS + "test_a_requested_pod_counts_in_the_next_tick",),
    ),
    Mutation(
        name="count-unknown",
        file="pods/models/pods.py",
        before="state__in=[s.value for s in ENDED])",
        after='state__in=["creating", *(s.value for s in ENDED)])',
        tests=(TICKS + "test_unknown_and_leaving_pods_count_in_the_next_tick",),
    ),
    Mutation(
        name="count-terminating",
        file="pods/models/pods.py",
        before="state__in=[s.value for s in ENDED])",
        after='state__in=["terminating", *(s.value for s in ENDED)])',
        tests=(TICKS + "test_unknown_and_leaving_pods_count_in_the_next_tick",),
    ),
    Mutation(
        name="billable-pods-take-places",
        file=GUARDRAILS,
        before="policy.max_instances - seen.billable",
        after="policy.max_instances - len(seen.active)",
        tests=(DECIDE + "test_a_pod_on_its_way_out_takes_a_place_until_it_is_proved_gone",),
    ),
    Mutation(
        name="max-instances",
        file=GUARDRAILS,
        before="at_most=policy.max_instances,",
        after="at_most=policy.max_instances + 1,",
        tests=(
            DECIDE + "test_a_lowered_limit_also_retires_running_pods",
            TICKS + "test_a_lowered_limit_retires_in_the_next_tick",
        ),
    ),
    Mutation(
        name="billable-pods-count-for-the-ceiling",
        file=GUARDRAILS,
        before="    committed = seen.hourly_usd\n    if committed > cap:",
        after="    committed = sum((p.hourly_usd for p in seen.active), Decimal(0))\n"
        "    if committed > cap:",
        tests=(DECIDE + "test_no_spawn_passes_a_ceiling_or_a_budget",),
    ),
    Mutation(
        name="budget-minus-spent",
        file=GUARDRAILS,
        before="left = budget - spent",
        after="left = budget",
        tests=(DECIDE + "test_no_spawn_passes_a_ceiling_or_a_budget",),
    ),
    Mutation(
        name="budget-pays-for-the-drain",
        file=GUARDRAILS,
        before="if left <= committed * seconds / HOUR_SECONDS:",
        after="if left <= 0:",
        tests=(DECIDE + "test_a_budget_that_runs_out_retires_while_the_drain_can_still_be_paid",),
    ),
    Mutation(
        name="open-segments-count-for-the-budget",
        file="fleet/money/spending.py",
        before="whole = sum((s.cost_usd(now) for s in recent), Decimal(0))",
        after="whole = sum((s.cost_usd(now) for s in recent if s.until), Decimal(0))",
        tests=(TICKS + "test_spending_counts_while_the_backlog_is_unknown",),
    ),
    Mutation(
        name="open-segments-count-for-the-daily-budget",
        file="fleet/money/spending.py",
        before="(s.cost_usd(now, since=begin) for s in recent)",
        after="(s.cost_usd(now, since=begin) for s in recent if s.until)",
        tests=(TICKS + "test_spending_counts_while_the_backlog_is_unknown",),
    ),
    Mutation(
        name="spawn-per-tick",
        file=GUARDRAILS,
        before=NEW_PODS,
        after=NEW_PODS + " + 1",
        tests=(DECIDE + "test_the_number_of_pods_never_passes_a_limit",),
    ),
    Mutation(
        name="orphans-count",
        file="fleet/decision/values.py",
        before="return len(self.pods) + self.orphans",
        after="return len(self.pods)",
        tests=(TICKS + "test_orphans_take_places_and_money",),
    ),
    Mutation(
        name="orphans-cost",
        file="fleet/decision/values.py",
        before="for p in self.pods), self.orphans_hourly_usd)",
        after="for p in self.pods), Decimal(0))",
        tests=(TICKS + "test_orphans_take_places_and_money",),
    ),
    Mutation(
        name="installation-limits",
        file=GUARDRAILS,
        before="taken = seen.elsewhere.pods + seen.billable",
        after="taken = seen.billable",
        tests=(TICKS + "test_the_installations_limits_hold_over_all_fleets",),
    ),
    Mutation(
        name="stop-all",
        file=GUARDRAILS,
        before="if policy.mode is Mode.STOP_ALL:",
        after="if False:",
        tests=(TICKS + "test_a_pause_starts_nothing_and_stop_all_ends_everything",),
    ),
    Mutation(
        name="pause",
        file=GUARDRAILS,
        before="if policy.mode is Mode.PAUSED:",
        after="if False:",
        tests=(TICKS + "test_a_pause_starts_nothing_and_stop_all_ends_everything",),
    ),
    Mutation(
        name="start-for-items-that-wait",
        file="fleet/decision/guardrails.py",
        before="    if seen.depth is None or not in_hand:\n",
        after="    if True:\n",
        tests=(
            "tests/unit/fleet/decision/test_decide.py::"
            "test_no_pod_starts_for_items_that_a_pod_has_in_hand",
        ),
    ),
    Mutation(
        name="canary",
        file=GUARDRAILS,
        before="    if seen.proven:\n",
        after="    if True:\n",
        tests=(DECIDE + "test_a_new_template_gets_one_pod_until_its_first_item",),
    ),
    Mutation(
        name="unknown-backlog-is-not-zero",
        file="fleet/tick/rows.py",
        before='return {"depth": None}',
        after='return {"depth": 0}',
        tests=(
            TICKS + "test_an_unreadable_backlog_changes_nothing_and_says_so",
            TICKS + "test_redis_down_changes_nothing",
        ),
    ),
    Mutation(
        name="unknown-backlog-changes-nothing",
        file="fleet/decision/decide.py",
        before="""Step(rule=Rule.UNKNOWN, before=active, after=active""",
        after="""Step(rule=Rule.UNKNOWN, before=active, after=0""",
        tests=(DECIDE + "test_an_unknown_backlog_retires_no_idle_pods",),
    ),
    Mutation(
        name="unknown-backlog-retires-no-idle-pod",
        file="fleet/decision/decide.py",
        before='''pods stay."""\n    if seen.depth is None:\n        return []''',
        after='''pods stay."""\n    if False:\n        return []''',
        tests=(DECIDE + "test_an_unknown_backlog_retires_no_idle_pods",),
    ),
    Mutation(
        name="an-emptied-server-is-unknown",
        file="fleet/backlog/redis_streams.py",
        before="        if not found:\n            raise BacklogUnknown(self._name_the_groups(rest[0]))\n",
        after="        if not found:\n            rest = [0, 0, 0, 0, 0, b'0-0', 0, 0, 0, 1, 0, 1, 0, []]\n",
        tests=(
            "tests/integration/fleet/backlog/test_stream_probe.py::"
            "test_a_missing_group_is_unknown_and_the_message_names_the_existing_groups",
        ),
    ),
    Mutation(
        name="pending-is-backlog",
        file="fleet/backlog/base.py",
        before="return self.waiting + self.pending + self.ahead",
        after="return self.waiting + self.ahead",
        tests=(TICKS + "test_pending_items_of_dead_consumers_are_backlog",),
    ),
    Mutation(
        name="circuit-breaker",
        file="pods/accounts/breaker.py",
        before="return account.open_until is not None and account.open_until > now",
        after="return False",
        tests=(TICKS + "test_a_disabled_or_failing_account_is_not_rented_from",),
    ),
    Mutation(
        name="circuit-breaker-counts-tries",
        file="pods/accounts/breaker.py",
        before="row.filter(Q(open_until__isnull=True) | Q(open_until__lte=now))",
        after="row",
        tests=(
            "tests/integration/pods/accounts/test_breaker.py::"
            "test_failures_while_an_account_is_left_alone_do_not_lengthen_the_pause",
        ),
    ),
    Mutation(
        name="circuit-breaker-at-once",
        file="pods/accounts/breaker.py",
        before="at_once = isinstance(error, AuthFailed | QuotaExceeded)",
        after="at_once = False",
        tests=(
            "tests/integration/pods/test_spawn_faults.py::"
            "test_an_account_with_a_refused_key_is_left_alone_at_once",
        ),
    ),
    Mutation(
        name="circuit-breaker-remembers-refused-creates",
        file="pods/accounts/breaker.py",
        before=" or (refused is not None and now - refused < REFUSAL_COUNTS)",
        after="",
        tests=(
            "tests/integration/pods/accounts/test_breaker.py::"
            "test_answers_do_not_close_the_breaker_within_an_hour_of_a_refused_create",
        ),
    ),
    Mutation(
        name="circuit-breaker-closes-by-a-list",
        file="pods/reconciling.py",
        before="    breaker.answered(account)\n",
        after="",
        tests=(
            "tests/integration/pods/accounts/test_breaker.py::"
            "test_a_successful_list_closes_the_breaker_of_an_account_without_pods",
        ),
    ),
    Mutation(
        name="boot-time-begins-with-the-create-request",
        file="fleet/tick/gathering.py",
        before="(ready - (asked or requested))",
        after="(ready - requested)",
        tests=(
            "tests/integration/fleet/tick/test_boot_time.py::"
            "test_a_boot_is_counted_from_the_request_that_made_the_machine",
        ),
    ),
    Mutation(
        name="a-busy-pod-is-not-idle",
        file="fleet/decision/decide.py",
        before="        and not p.in_flight\n",
        after="",
        tests=(DECIDE + "test_a_pod_with_items_in_hand_is_never_retired_as_idle",),
    ),
)
