"""The lines that keep a pod's row true to its machine, from the request to the proof of its end."""

from typing import Final

from tests.mutations.mutation import Mutation

SPAWNS = "tests/integration/pods/test_spawn_faults.py::"
ENDS = "tests/integration/pods/test_ends_and_health.py::"
RECONCILES = "tests/integration/pods/test_reconciling.py::"
ALONE = "tests/integration/pods/test_protective_lines.py::"
STILL = "tests/integration/faults/test_standing_still.py::"
DIAGNOSIS = "tests/unit/pods/test_diagnosis.py::"
SPAWNING, TEARDOWN, LIFECYCLE = "pods/spawning.py", "pods/teardown.py", "pods/lifecycle.py"
LATER = "_later(pod, max(wait, provider.capabilities.list_lag)"
ASK = 'lifecycle.still_claimed(pod, asked_at=shared_now(), attempts=F("attempts") + 1)'
FIRST_SIGHT = """        Pod.objects.filter(pk=pod.pk).update(absent_since=now)
        _again(pod, max(CONFIRM_STEP, provider.capabilities.consistency_window))
        return
"""

PODS_AND_MACHINES: Final = (
    Mutation(
        name="look-before-create",
        file=SPAWNING,
        before="machine = find_by_token(provider, pod)",
        after="machine = None",
        tests=(SPAWNS + "test_after_a_kill_before_the_id_is_stored_the_machine_is_found_again",),
    ),
    Mutation(
        name="wait-for-the-list-lag",
        file=SPAWNING,
        before="if wait > timedelta(0):",
        after="if False:",
        tests=(ALONE + "test_each_try_to_create_waits_again_until_the_list_can_be_trusted",),
    ),
    Mutation(
        name="wait-since-the-last-create",
        file="pods/spawning.py",
        before=ASK,
        after='lifecycle.still_claimed(pod, attempts=F("attempts") + 1)',
        tests=(ALONE + "test_each_try_to_create_waits_again_until_the_list_can_be_trusted",),
    ),
    Mutation(
        name="a-failed-list-creates-nothing",
        file=SPAWNING,
        before='f"cannot look for its machine: {exc}")\n            return',
        after='f"cannot look for its machine: {exc}")\n            machine = None',
        tests=(ALONE + "test_nothing_is_created_while_the_list_cannot_be_read",),
    ),
    Mutation(
        name="a-lost-answer-is-not-a-failure",
        file=SPAWNING,
        before=LATER + ', f"no answer: {exc}", counted=True)',
        after='_give_up(pod, f"no answer: {exc}")',
        tests=(SPAWNS + "test_a_lost_answer_bills_one_pod",),
    ),
    Mutation(
        name="continue-with-a-known-machine",
        file=SPAWNING,
        before="        if pod.external_id is not None:\n            # An earlier try",
        after="        if False:\n            # An earlier try",
        tests=(SPAWNS + "test_after_a_kill_when_the_id_is_stored_no_second_machine_is_created",),
    ),
    Mutation(
        name="destroy-what-a-refusal-left-billing",
        file=SPAWNING,
        before="if exc.billing_id is not None:",
        after="if False:",
        tests=(ALONE + "test_a_machine_that_bills_after_a_refusal_is_destroyed",),
    ),
    Mutation(
        name="end-a-spawn-that-is-no-longer-wanted",
        file=SPAWNING,
        before="    if pod.retire_rule:\n        lifecycle.move(pod, TERMINATING",
        after="    if False:\n        lifecycle.move(pod, TERMINATING",
        tests=(SPAWNS + "test_an_unwanted_pod_ends_whatever_step_its_spawn_has_reached",),
    ),
    Mutation(
        name="price-from-the-create-request",
        file="pods/costs/segments.py",
        before="after in {CREATING, RESUMING}",
        after="after is RESUMING",
        tests=(SPAWNS + "test_the_price_counts_from_the_moment_the_provider_is_asked",),
    ),
    Mutation(
        name="claim",
        file=LIFECYCLE,
        before="Q(claimed_until__isnull=True) | Q(claimed_until__lt=now), pk=pod_id",
        after="pk=pod_id",
        tests=(SPAWNS + "test_two_deliveries_at_once_create_one_machine",),
    ),
    Mutation(
        name="claim-before-create",
        file="pods/spawning.py",
        before=ASK,
        after="Pod.objects.filter(pk=pod.pk).update(asked_at=utcnow())",
        tests=(SPAWNS + "test_a_spawn_that_stood_still_after_its_look_creates_no_second_machine",),
    ),
    Mutation(
        name="claim-swap",
        file=LIFECYCLE,
        before="took = free.filter(claim=seen)",
        after="took = free",
        tests=(
            STILL
            + "test_a_verb_that_stands_still_does_not_get_a_claim_that_another_verb_had_meanwhile",
        ),
    ),
    Mutation(
        name="claim-ends",
        file=LIFECYCLE,
        before=" | Q(claimed_until__lt=now), pk=pod_id",
        after=", pk=pod_id",
        tests=(ALONE + "test_a_killed_workers_claim_ends_by_itself",),
    ),
    Mutation(
        name="version-swap",
        file=LIFECYCLE,
        before="Pod.objects.filter(pk=pod.pk, version=pod.version)",
        after="Pod.objects.filter(pk=pod.pk)",
        tests=(SPAWNS + "test_a_worker_frozen_past_its_claim_overwrites_nothing",),
    ),
    Mutation(
        name="table-of-moves",
        file=LIFECYCLE,
        before="if not may_move(before, to):",
        after="if False:",
        tests=(ALONE + "test_a_move_that_is_not_in_the_table_is_refused",),
    ),
    Mutation(
        name="event-of-a-move",
        file=LIFECYCLE,
        before="PodEvent.objects.bulk_create(events)",
        after="pass",
        tests=(SPAWNS + "test_a_requested_pod_is_created_once_and_boots",),
    ),
    Mutation(
        name="id-set-once",
        file=LIFECYCLE,
        before="if pod.external_id not in (None, external_id):",
        after="if False:",
        tests=(ALONE + "test_an_id_that_was_stored_is_never_replaced",),
    ),
    Mutation(
        name="next-step-after-the-claim",
        file="pods/dispatch.py",
        before="    if outbox is not None:\n",
        after="    if False:\n",
        tests=(ALONE + "test_the_next_step_is_sent_when_the_claim_ends_and_it_expires",),
    ),
    Mutation(
        name="nudge",
        file="pods/tasks.py",
        before="dispatch.next_step(pod_id, PodState(state))",
        after="pass",
        tests=(SPAWNS + "test_the_step_of_a_row_whose_message_was_lost_is_sent_again",),
    ),
    Mutation(
        name="confirm-twice",
        file=TEARDOWN,
        before=FIRST_SIGHT,
        after="        pod.absent_since = now - provider.capabilities.consistency_window * 2\n",
        tests=(ENDS + "test_tasks_that_arrive_too_early_prove_nothing",),
    ),
    Mutation(
        name="confirm-outside-the-window",
        file=TEARDOWN,
        before="if now - pod.absent_since < window or now < born:",
        after="if now < born:",
        tests=(ENDS + "test_tasks_that_arrive_too_early_prove_nothing",),
    ),
    Mutation(
        name="confirm-after-the-create-can-be-seen",
        file=TEARDOWN,
        before="if now - pod.absent_since < window or now < born:",
        after="if now - pod.absent_since < window:",
        tests=(ALONE + "test_a_new_machine_that_no_reading_shows_yet_is_not_proved_gone",),
    ),
    Mutation(
        name="confirm-from-the-list",
        file=TEARDOWN,
        before="for m in provider.list_tagged(pod.tag)",
        after="for m in ()",
        tests=(ALONE + "test_one_reading_that_lacks_a_machine_proves_nothing",),
    ),
    Mutation(
        name="confirm-from-the-status",
        file=TEARDOWN,
        before="if machine.phase is not Phase.GONE:\n            return machine",
        after="if False:\n            return machine",
        tests=(ALONE + "test_one_reading_that_lacks_a_machine_proves_nothing",),
    ),
    Mutation(
        name="a-machine-in-a-reading-is-not-gone",
        file=TEARDOWN,
        before="present=machine is not None)",
        after="present=False)",
        tests=(ENDS + "test_a_machine_that_survives_an_accepted_destroy_is_destroyed_again",),
    ),
    Mutation(
        name="an-absence-before-teardown-proves-nothing",
        file=LIFECYCLE,
        before='changes.setdefault("absent_since", None)',
        after="pass",
        tests=(ALONE + "test_an_absence_before_the_end_began_does_not_prove_the_end",),
    ),
    Mutation(
        name="destroy-also-what-looks-gone",
        file=TEARDOWN,
        before="if pod.destroy_asked_at is None:",
        after="if machine is not None:",
        tests=(ENDS + "test_a_machine_that_both_readings_lack_is_still_destroyed",),
    ),
    Mutation(
        name="a-failed-destroy-is-not-an-end",
        file=TEARDOWN,
        before='_again(pod, pause(pod.attempts), f"destroy: {type(exc).__name__}: {exc}")',
        after='lifecycle.move(pod, TERMINATED, by="teardown", because=str(exc))',
        tests=(ENDS + "test_a_failing_destroy_is_repeated_for_ever_and_the_pod_counts_until_then",),
    ),
    Mutation(
        name="fence",
        file=TEARDOWN,
        before="        fencing.fence(pod)\n",
        after="        pass\n",
        tests=(ENDS + "test_a_pod_without_any_sign_is_written_off_and_fenced",),
    ),
    Mutation(
        name="destroy-without-a-fence-after-a-while",
        file=TEARDOWN,
        before="if shared_now() - pod.state_since < FENCE_PATIENCE:",
        after="if True:",
        tests=(ALONE + "test_redis_down_delays_a_destroy_for_a_short_time_only",),
    ),
    Mutation(
        name="keep-a-consumer-with-items",
        file="pods/agent_redis/consumers.py",
        before="if not redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[i])[1] then",
        after="if true then",
        tests=(ALONE + "test_items_of_a_gone_pod_stay_until_others_claim_them",),
    ),
    Mutation(
        name="end-a-local-pod-without-its-log",
        file="pods/providers/local/provider.py",
        before="        with suppress(OSError):\n            _keep",
        after="        with folders.on_disk(folder):\n            _keep",
        tests=(
            "tests/contract/test_local_disk.py::test_a_log_that_cannot_be_kept_holds_up_no_end",
        ),
    ),
    Mutation(
        name="price-of-a-stopped-pod-that-ends",
        file=LIFECYCLE,
        before="if before is STOPPED:",
        after="if False:",
        tests=(
            "tests/integration/pods/test_stopped_pods.py::"
            "test_an_ending_pod_that_was_stopped_costs_only_its_stopped_price",
        ),
    ),
    Mutation(
        name="ledger-closes",
        file="pods/costs/segments.py",
        before="close(pod, at=min(pod.destroy_asked_at or now, now), now=now)",
        after="pass",
        tests=(ENDS + "test_the_ledger_differs_from_the_vendors_bill_by_at_most_one_tick",),
    ),
    Mutation(
        name="ledger-goes-on-for-a-machine-still-there",
        file=TEARDOWN,
        before="        segments.still_there(pod)\n",
        after="        pass\n",
        tests=(
            ALONE + "test_a_machine_booked_as_gone_and_seen_again_is_billed_for_the_whole_time",
            ALONE + "test_a_machine_booked_as_gone_is_billed_until_the_destroy_that_found_it",
        ),
    ),
    Mutation(
        name="ledger-has-no-gap-after-a-wrong-proof",
        file="pods/costs/segments.py",
        before="now if still_there(pod, now=now) else min(pod.asked_at or now, now)",
        after="now",
        tests=(
            RECONCILES
            + "test_a_machine_that_was_proved_gone_and_lives_is_booked_for_the_whole_time",
            RECONCILES + "test_a_machine_whose_spawn_was_given_up_is_booked_since_it_was_asked_for",
        ),
    ),
    Mutation(
        name="a-late-price-opens-no-segment",
        file=LIFECYCLE,
        before="same = Pod.objects.filter(version=pod.version, pk=pod.pk)",
        after="same = Pod.objects.filter(pk=pod.pk)",
        tests=(
            "tests/integration/pods/test_prices_survive.py::"
            "test_a_price_that_a_sweep_saw_before_the_pods_end_opens_no_segment",
        ),
    ),
    Mutation(
        name="ledger-goes-on-after-a-destroy-without-effect",
        file=TEARDOWN,
        before="if machine is not None:\n            # If a destroy",
        after="if False:\n            # If a destroy",
        tests=(ALONE + "test_a_destroy_without_effect_does_not_end_the_bill",),
    ),
    Mutation(
        name="see-an-orphan-twice-before-its-destroy",
        file="pods/reconciling.py",
        before="if now - seen.first_seen_at < window:",
        after="if False:",
        tests=(
            RECONCILES + "test_a_tagged_machine_without_a_row_is_destroyed_after_two_sightings",
        ),
    ),
    Mutation(
        name="destroy-the-machine-of-an-ended-row",
        file="pods/reconciling.py",
        before="elif row.status in ENDED:",
        after="elif False:",
        tests=(RECONCILES + "test_a_living_machine_of_an_ended_row_counts_again_and_is_destroyed",),
    ),
    Mutation(
        name="a-second-machine-is-not-adopted",
        file="pods/reconciling.py",
        before="adopt = adopt and token is not None and newest is not None",
        after="adopt = newest is not None",
        tests=(SPAWNS + "test_a_second_machine_with_the_same_token_is_found_and_destroyed",),
    ),
    Mutation(
        name="a-failed-list-is-not-empty",
        file="pods/health.py",
        before="        breaker.failed(account, exc)\n        return None, provider.capabilities",
        after="        breaker.failed(account, exc)\n        return {}, provider.capabilities",
        tests=(ENDS + "test_a_failed_list_says_nothing_about_any_pod",),
    ),
    Mutation(
        name="share-of-unhealthy-pods",
        file="pods/health.py",
        before="return inferred < max(1, int((peers + inferred) * INFERRED_SHARE))",
        after="return True",
        tests=(ENDS + "test_only_a_share_is_ended_when_many_pods_look_ill_at_once",),
    ),
    Mutation(
        name="absent-for-the-consistency-window",
        file="pods/diagnosis.py",
        before="facts.absent_for is not None and facts.absent_for >= window",
        after="True",
        tests=(ENDS + "test_a_pod_deleted_in_the_console_is_lost_only_outside_the_window",),
    ),
    Mutation(
        name="redis-down-is-not-a-sign-of-illness",
        file="pods/diagnosis.py",
        before="if not facts.beats_known:",
        after="if False:",
        tests=(DIAGNOSIS + "test_unknown_facts_never_make_a_pod_ill",),
    ),
    Mutation(
        name="the-rows-last-heartbeat-counts",
        file="pods/diagnosis.py",
        before="signs = (facts.beat_age, facts.last_seen, facts.unread_age)",
        after="signs = (facts.beat_age, facts.unread_age)",
        tests=(
            "tests/unit/pods/test_diagnosis.py::"
            "test_the_row_remembers_a_heartbeat_that_redis_evicted",
        ),
    ),
    Mutation(
        name="a-pod-that-works-is-not-silent",
        file="pods/diagnosis.py",
        before="lively = idle is not None and idle <= facts.silent_after",
        after="lively = False",
        tests=(
            DIAGNOSIS
            + "test_a_pod_that_acknowledges_or_touches_the_stream_is_not_ended_on_inference",
        ),
    ),
)
