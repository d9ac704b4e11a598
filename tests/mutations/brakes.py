"""The lines about what fails again and again, and about who is told."""

from typing import Final

from tests.mutations.mutation import Mutation

BRAKES_TESTS = "tests/unit/fleet/decision/test_brakes.py::"
BROKEN = "tests/integration/fleet/tick/test_broken_templates.py::"
PLACEMENT = "tests/unit/fleet/decision/test_placement.py::"
WINDOWS = "tests/unit/fleet/decision/test_windows.py::"
USAGE = "tests/unit/fleet/decision/test_usage.py::"
USE_OF_PODS = "tests/integration/fleet/tick/test_use_of_pods.py::"
GAPS = "tests/integration/fleet/alerts/test_gaps.py::"
ALERTS = "tests/unit/fleet/decision/test_alert_rules.py::"

BRAKES: Final = (
    Mutation(
        name="a-pause-after-failures",
        file="fleet/decision/guardrails.py",
        before="tried = seen.failing.until > seen.now or any(p.trial for p in seen.active)",
        after="tried = any(p.trial for p in seen.active)",
        tests=(BRAKES_TESTS + "test_one_pod_is_tried_after_the_pause_and_none_beside_it",),
    ),
    Mutation(
        name="one-try-at-a-time",
        file="fleet/decision/guardrails.py",
        before="tried = seen.failing.until > seen.now or any(p.trial for p in seen.active)",
        after="tried = seen.failing.until > seen.now",
        tests=(BRAKES_TESTS + "test_one_pod_is_tried_after_the_pause_and_none_beside_it",),
    ),
    Mutation(
        name="failures-of-one-template",
        file="fleet/tick/failing.py",
        before="fleet=fleet, template_hash=template_hash(fleet)",
        after="fleet=fleet",
        tests=(BROKEN + "test_another_template_begins_anew_and_the_old_one_is_not_forgotten",),
    ),
    Mutation(
        name="a-preemption-is-no-failure",
        file="fleet/decision/brakes.py",
        before=" or (self.interruptible and rule in TAKEN_RULES)",
        after="",
        tests=(BRAKES_TESTS + "test_a_pod_that_ends_before_its_first_item_has_failed",),
    ),
    Mutation(
        name="output-asked-for-once",
        file="pods/accounts/machine_logs.py",
        before=" or pod.output_asked_at is not None",
        after="",
        tests=(BROKEN + "test_a_log_that_cannot_be_read_is_asked_for_once_and_delays_no_end",),
    ),
    Mutation(
        name="bad-hosts-for-several-boots",
        file="fleet/decision/placement.py",
        before="return BOOTS_REMEMBERED * max(self.boot_deadline, BOOT_DEADLINE)",
        after="return HALF_LIFE",
        tests=(PLACEMENT + "test_a_bad_host_is_avoided_for_several_boot_deadlines_of_that_pod",),
    ),
    Mutation(
        name="no-pods-is-told",
        file="fleet/decision/windows.py",
        before="    if fleet.machines or fleet.failing >= PODS_FAILED:\n",
        after="    if True:\n",
        tests=(ALERTS + "test_items_that_wait_for_ten_minutes_without_a_machine_are_announced",),
    ),
    Mutation(
        name="a-gap-ends-no-alert",
        file="fleet/decision/windows.py",
        before="return cause in fleet.open or (None not in verdicts and _whole_window(fleet, now))",
        after="return None not in verdicts and _whole_window(fleet, now)",
        tests=(WINDOWS + "test_an_open_alert_lasts_over_a_gap_and_over_unknown_ticks",),
    ),
    Mutation(
        name="the-tick-before-the-window",
        file="fleet/alerts/reconciling.py",
        before="Tick.objects.filter(within | Q(pk__in=before))",
        after="Tick.objects.filter(within)",
        tests=(GAPS + "test_a_fleet_with_rare_ticks_has_the_alert_after_two_of_them",),
    ),
    Mutation(
        name="no-pod-beside-pods-that-wait",
        file="fleet/decision/guardrails.py",
        before="    because = why_under_used(seen, policy)\n    if not because:\n",
        after="    because = why_under_used(seen, policy)\n    if because:\n",
        tests=(USAGE + "test_only_the_link_and_the_feed_hold_further_pods_back",),
    ),
    Mutation(
        name="a-window-that-is-not-whole-says-nothing",
        file="fleet/tick/measures.py",
        before=" or beat.said.uptime_ms < WINDOW.total_seconds() * 1000",
        after="",
        tests=(USE_OF_PODS + "test_a_window_that_is_old_or_not_whole_says_nothing",),
    ),
    Mutation(
        name="pods-that-wait-while-no-item-does",
        file="fleet/decision/usage.py",
        before="if not known or not waited or _busy(known) >= least:",
        after="if not known or _busy(known) >= least:",
        tests=(USAGE + "test_it_counts_only_while_items_waited_for_the_whole_window",),
    ),
    Mutation(
        name="all-fail-brakes",
        file="fleet/decision/guardrails.py",
        before="    if not seen.all_fail:\n",
        after="    if True:\n",
        tests=(BRAKES_TESTS + "test_while_all_ready_pods_fail_everything_no_further_pod_starts",),
    ),
)
