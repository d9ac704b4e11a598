"""The lines that bound what an agent has in hand, and keep good items apart from bad ones."""

from typing import Final

from tests.mutations.mutation import Mutation

LUA = "pods/agent/scripts/"
BYTES = "tests/integration/pods/agent/test_bytes_in_hand.py::"

BAD = "tests/integration/pods/agent/test_bad_pods.py::"
PARTS = "tests/unit/pods/agent/test_agent_parts.py::"
SCRIPTS = "tests/integration/pods/agent/test_agent_scripts.py::"
POISON = "tests/integration/pods/agent/test_poison_items.py::"
HOLDING = "tests/unit/pods/agent/test_agent_holding.py::"
WINDOW = "tests/unit/pods/agent/test_agent_window.py::"
PIPELINE = "tests/unit/pods/agent/test_agent_pipeline.py::"
TRIMMED = "tests/integration/pods/agent/test_trimmed_items.py::"
COPIES = "tests/integration/pods/agent/test_copies.py::"
SHARES = "tests/integration/pods/agent/test_fair_shares.py::"

IN_HAND: Final = (
    Mutation(
        name="bytes-of-a-read",
        file=LUA + "read.lua",
        before="  if used > 0 then asked",
        after="  if false then asked",
        tests=(BYTES + "test_no_more_is_read_than_the_bytes_in_hand_allow",),
    ),
    Mutation(
        name="bytes-of-a-claim",
        file=LUA + "claim.lua",
        before="#taken >= count or budget <= 0 end",
        after="#taken >= count end",
        tests=(BYTES + "test_no_more_is_claimed_than_the_bytes_in_hand_allow",),
    ),
    Mutation(
        name="bytes-of-a-recovery",
        file=LUA + "recover.lua",
        before="if budget <= 0 then break end",
        after="",
        tests=(BYTES + "test_no_more_is_recovered_than_the_bytes_in_hand_allow",),
    ),
    Mutation(
        name="bytes-of-a-retry",
        file="pods/agent/holding.py",
        before="if len(due) >= most or max_bytes <= 0:",
        after="if len(due) >= most:",
        tests=(BYTES + "test_no_more_is_tried_again_than_the_bytes_in_hand_allow",),
    ),
    Mutation(
        name="keep-trimmed-items-pending",
        file=LUA + "keep.lua",
        before="if not is_trimmed(ARGV[i]) then",
        after="if true then",
        tests=(TRIMMED + "test_the_result_of_an_item_that_was_trimmed_in_hand_is_published",),
    ),
    Mutation(
        name="letter-of-a-claimed-item-that-is-gone",
        file=LUA + "claim.lua",
        before="if not entry then return bury(pending) end",
        after="if not entry then redis.call('XACK', KEYS[1], group, pending[1]); return end",
        tests=(TRIMMED + "test_an_item_of_nobody_that_was_trimmed_leaves_a_letter",),
    ),
    Mutation(
        name="letter-of-a-recovered-item-that-is-gone",
        file=LUA + "recover.lua",
        before="    bury(p)\n",
        after="    redis.call('XACK', KEYS[1], group, p[1])\n",
        tests=(TRIMMED + "test_an_item_that_was_trimmed_during_a_restart_leaves_a_letter",),
    ),
    Mutation(
        name="letter-of-a-failed-item-that-is-gone",
        file="pods/agent/reclaim.py",
        before="            self._bury([Failure(e, self._holding.error_of(e), final=True) for e in gone])\n",
        after="",
        tests=(
            TRIMMED
            + "test_an_item_that_is_trimmed_between_two_tries_leaves_a_letter_with_its_last_error",
        ),
    ),
    Mutation(
        name="a-missing-field-is-final",
        file="pods/agent/calling.py",
        before="final = isinstance(exc, (MissingField, BadItem))",
        after="final = False",
        tests=(
            "tests/unit/pods/agent/test_agent_calling.py::"
            "test_a_missing_field_fails_its_item_for_good_and_names_what_it_has",
        ),
    ),
    Mutation(
        name="patch-for-greenlets-first",
        file="pods/agent/celery_child.py",
        before='        import_module("celery").maybe_patch_concurrency(sys.argv[3:])\n',
        after="",
        tests=(
            "tests/integration/pods/agent/test_celery_on_pods.py::"
            "test_the_tasks_of_a_pool_of_greenlets_run_at_the_same_time",
        ),
    ),
    Mutation(
        name="a-claim-is-not-a-try",
        file=LUA + "claim.lua",
        before="0, entry[1], 'JUSTID')",
        after="0, entry[1])",
        tests=(SCRIPTS + "test_a_take_is_not_a_try_and_a_try_counts_before_it_begins",),
    ),
    Mutation(
        name="a-recovery-is-not-a-try",
        file=LUA + "recover.lua",
        before="0, entry[1], 'JUSTID')",
        after="0, entry[1])",
        tests=(SCRIPTS + "test_a_take_is_not_a_try_and_a_try_counts_before_it_begins",),
    ),
    Mutation(
        name="begin-only-own-items",
        file=LUA + "begin.lua",
        before="if not pending or pending[2] ~= consumer then",
        after="if not pending then",
        tests=(SCRIPTS + "test_the_try_of_an_item_of_another_agent_does_not_begin",),
    ),
    Mutation(
        name="a-suspect-alone",
        file="pods/agent/holding.py",
        before="                if alone and batches:\n",
        after="                if False:\n",
        tests=(HOLDING + "test_an_item_that_was_delivered_often_is_tried_alone",),
    ),
    Mutation(
        name="a-crashed-batch-one-by-one",
        file="pods/agent/loop.py",
        before="        if len(batch) > 1:\n            self._holding.try_each_alone(batch)\n",
        after="        if len(batch) > 1:\n            self._outbox.put(batch, [Failed(why)] * len(batch))\n",
        tests=(POISON + "test_with_a_single_delivery_a_crash_buries_only_the_item_that_did_it",),
    ),
    Mutation(
        name="a-try-alone-before-the-end",
        file="pods/agent/reclaim.py",
        before="longest = max(self._settings.max_deliveries, SUSPECT_DELIVERIES)",
        after="longest = self._settings.max_deliveries",
        tests=(POISON + "test_an_item_that_kills_its_pods_takes_no_neighbour_with_it",),
    ),
    Mutation(
        name="one-item-first",
        file="pods/agent/window.py",
        before="            return 0 if self._inside else self.batch_size\n",
        after="            return 64\n",
        tests=(
            HOLDING + "test_one_item_is_taken_first_and_no_other_until_the_handler_has_answered",
        ),
    ),
    Mutation(
        name="no-long-batch-ahead",
        file="pods/agent/window.py",
        before="return self.batch_size if self.seconds_to_wait(now) <= 0 else 0",
        after="return self.batch_size",
        tests=(HOLDING + "test_the_next_long_batch_is_read_when_the_present_one_is_about_to_end",),
    ),
    Mutation(
        name="give-back-what-waits",
        file="pods/agent/holding.py",
        before="ready_since > self._window.hold_seconds:",
        after="ready_since > float('inf'):",
        tests=(HOLDING + "test_items_that_the_handler_does_not_come_to_are_given_back",),
    ),
    Mutation(
        name="no-more-ahead-than-the-link-needs",
        file="pods/agent/window.py",
        before="min(READS_AHEAD * self._read_seconds, link)",
        after="READS_AHEAD * self._read_seconds",
        tests=(
            WINDOW
            + "test_where_reads_take_long_for_other_reasons_than_the_link_little_more_is_held",
        ),
    ),
    Mutation(
        name="few-items-first-far-away",
        file="pods/agent/window.py",
        before="min(FIRST_GROWTH * done, LARGEST_STEP))",
        after="LARGEST_STEP)",
        tests=(WINDOW + "test_far_away_it_begins_with_few_and_grows_by_what_the_handler_did",),
    ),
    Mutation(
        name="no-more-ahead-than-the-handler-takes",
        file="pods/agent/window.py",
        before="min(by_pace, by_time)",
        after="by_pace",
        tests=(WINDOW + "test_far_away_it_begins_with_few_and_grows_by_what_the_handler_did",),
    ),
    Mutation(
        name="bytes-of-all-reads-under-way",
        file="pods/agent/room.py",
        before="return max(0, hand.free_bytes - self._bytes)",
        after="return max(0, hand.free_bytes)",
        tests=(WINDOW + "test_all_reads_under_way_together_pass_no_bound",),
    ),
    Mutation(
        name="items-of-all-reads-under-way",
        file="pods/agent/room.py",
        before="hand.most - hand.held) - self._items",
        after="hand.most - hand.held)",
        tests=(WINDOW + "test_all_reads_under_way_together_pass_no_bound",),
    ),
    Mutation(
        name="one-read-of-large-items",
        file="pods/agent/room.py",
        before="        self._more = items >= LARGEST_STEP\n",
        after="        self._more = True\n",
        tests=(
            WINDOW
            + "test_no_further_read_is_under_way_at_the_end_of_the_stream_or_for_large_items",
        ),
    ),
    Mutation(
        name="bytes-of-results-that-wait",
        file="pods/agent/outbox.py",
        before="self._items + items <= MOST_WAITING and self._bytes + size <= MOST_BYTES",
        after="self._items + items <= MOST_WAITING",
        tests=(PIPELINE + "test_the_handler_is_not_read_while_too_much_waits_for_a_commit",),
    ),
    Mutation(
        name="bytes-of-results-under-way",
        file="pods/agent/outbox.py",
        before="return self._bytes + size <= MOST_BYTES or not self._under_way",
        after="return True",
        tests=(
            PIPELINE
            + "test_the_results_of_the_commits_under_way_count_and_one_answer_of_any_size_may_wait",
        ),
    ),
    Mutation(
        name="one-copy-of-an-item",
        file=LUA + "offer.lua",
        before="'NX', ",
        after="",
        tests=(COPIES + "test_an_item_is_copied_once_whoever_asks_and_however_long_it_takes",),
    ),
    Mutation(
        name="no-copy-of-an-item-that-was-tried",
        file=LUA + "offer.lua",
        before=" or pending[4] ~= 1 then",
        after=" then",
        tests=(COPIES + "test_no_copy_is_made_of_what_is_not_the_first_try_of_that_holder",),
    ),
    Mutation(
        name="no-copy-from-a-pod-that-died",
        file="pods/agent/tail.py",
        before="now - item.idle_seconds - since >= after_seconds",
        after="now - since >= after_seconds",
        tests=(
            "tests/unit/pods/agent/test_agent_tail.py::"
            "test_the_item_of_a_pod_that_has_shown_no_life_since_is_left_alone",
        ),
    ),
    Mutation(
        name="no-copy-while-items-wait",
        file="pods/agent/copying.py",
        before="        if any(\n",
        after="        if False and any(\n",
        tests=(
            COPIES + "test_nothing_is_copied_while_another_item_waits_or_the_holder_shows_no_life",
        ),
    ),
    Mutation(
        name="no-copy-of-a-suspect",
        file="pods/agent/loop.py",
        before="        self._copying.suspect(entry.id for entry in batch)\n",
        after="",
        tests=(COPIES + "test_the_items_of_a_handler_that_crashed_are_not_copied",),
    ),
    Mutation(
        name="the-last-items-in-equal-parts",
        file=LUA + "read.lua",
        before="  left = math.min(left, math.max(1, equal_part()))\n",
        after="",
        tests=(SHARES + "test_a_read_takes_no_more_than_an_equal_part_of_what_is_left",),
    ),
    Mutation(
        name="another-pod-before-the-end",
        file=LUA + "fail.lua",
        before="elseif leave_ms > 1 and is_another_seen() then",
        after="elseif false then",
        tests=(BAD + "test_a_failed_item_is_left_to_another_pod_which_finds_it_at_once",),
    ),
    Mutation(
        name="another-pod-before-each-try-here",
        file="pods/agent/reclaim.py",
        before="            left = self._leave(due)\n",
        after="            left: set[str] = set()\n",
        tests=(BAD + "test_an_item_that_failed_before_another_pod_came_is_left_to_that_pod",),
    ),
    Mutation(
        name="not-the-last-try-of-the-same-pod",
        file=LUA + "claim.lua",
        before="pending[4] >= max_deliveries - 1",
        after="false",
        tests=(BAD + "test_the_last_try_is_not_the_pods_that_failed_all_others",),
    ),
    Mutation(
        name="a-trickle-while-all-fails",
        file="pods/agent/trickle.py",
        before="        return min(items, 1) if self._clock() >= self._next else 0\n",
        after="        return items\n",
        tests=(
            PARTS + "test_a_pod_whose_tries_all_fail_takes_an_item_now_and_then_until_one_succeeds",
        ),
    ),
    Mutation(
        name="a-trickle-also-of-items-that-fail-for-good",
        file="pods/agent/trickle.py",
        before="return self._progress.in_a_row >= MOST_FAILING",
        after="return self._progress.failing >= MOST_FAILING",
        tests=(PARTS + "test_tries_that_no_other_try_can_help_count_for_the_trickle_too",),
    ),
    Mutation(
        name="few-items-fail-for-good-in-a-row",
        file="pods/agent/settling.py",
        before="failures[:succeeded_at] + believed(in_a_row, most_final)",
        after="failures",
        tests=(
            BAD
            + "test_items_that_all_fail_for_good_do_not_empty_the_backlog_into_the_dead_letters",
        ),
    ),
    Mutation(
        name="items-that-fail-for-good-brake-the-fleet",
        file="pods/sightings.py",
        before="    if said.failing + said.final >= MOST_FAILING:\n",
        after="    if said.failing >= MOST_FAILING:\n",
        tests=(
            "tests/integration/fleet/tick/test_failing_work.py::"
            "test_a_fleet_that_fails_everything_starts_no_pod_until_an_item_succeeds",
        ),
    ),
    Mutation(
        name="items-that-fail-for-good-end-no-pod",
        file="pods/sightings.py",
        before="return seen.beat is not None and seen.beat.said.failing >= MOST_FAILING",
        after="return seen.beat is not None and bool(fails_all(seen.beat.said))",
        tests=(
            "tests/integration/pods/test_ends_and_health.py::"
            "test_a_pod_whose_items_are_all_bad_is_not_ended",
        ),
    ),
    Mutation(
        name="end-a-pod-that-fails-everything",
        file="pods/diagnosis.py",
        before="    return facts.all_fail and at_fault and now and _listened(facts, facts.silent_after)\n",
        after="    return False\n",
        tests=(
            "tests/integration/pods/test_ends_and_health.py::"
            "test_a_pod_that_fails_everything_beside_one_that_succeeds_is_ended",
        ),
    ),
    Mutation(
        name="keep-pods-that-all-fail",
        file="pods/diagnosis.py",
        before="    at_fault = facts.others_succeed or not facts.finished\n",
        after="    at_fault = True\n",
        tests=(
            "tests/integration/pods/test_ends_and_health.py::"
            "test_pods_that_all_fail_after_they_worked_are_left_alone",
        ),
    ),
)
