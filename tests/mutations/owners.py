"""The lines that say whose a machine, a claim or an edit is, and when a wait or the tries end."""

from typing import Final

from tests.mutations.mutation import Mutation

WHOSE = "tests/integration/pods/test_whose_machine.py::"

OWNERS: Final = (
    Mutation(
        name="keep-a-machine-of-no-fleet-when-adopting",
        file="pods/reconciling.py",
        before="if wish != Account.Orphans.DESTROY:",
        after="if False:",
        tests=(
            WHOSE + "test_a_machine_of_no_fleet_is_destroyed_only_where_the_operator_wants_that",
        ),
    ),
    Mutation(
        name="orphans-wait-out-the-vendors-window",
        file="pods/reconciling.py",
        before="            if now - seen.first_seen_at < window:",
        after="            if now - seen.first_seen_at < SIGHTINGS_APART:",
        tests=(
            WHOSE
            + "test_a_machine_without_a_row_is_left_alone_for_as_long_as_a_spawn_may_store_its_id",
        ),
    ),
    Mutation(
        name="an-old-list-brings-no-pod-back",
        file="pods/reconciling.py",
        before="if pod.ended_at and shared_now() - pod.ended_at < SIGHTINGS_APART:",
        after="if False:",
        tests=(WHOSE + "test_a_list_that_is_older_than_the_end_of_a_pod_does_not_bring_it_back",),
    ),
    Mutation(
        name="an-ended-machine-is-not-the-one-asked-for",
        file="pods/spawning.py",
        before="if m.token == token and m.phase is not Phase.GONE",
        after="if m.token == token",
        tests=(
            WHOSE + "test_a_machine_that_the_vendor_lists_as_ended_is_not_taken_for_the_one"
            "_that_was_asked_for",
        ),
    ),
    Mutation(
        name="a-claim-is-freed-by-its-holder",
        file="pods/lifecycle.py",
        before="filter(pk=pod_id, claim=pod.claim).update(claimed_until=None)",
        after="filter(pk=pod_id).update(claimed_until=None)",
        tests=(
            WHOSE
            + "test_a_verb_whose_claim_has_ended_does_not_free_the_claim_of_the_verb_after_it",
        ),
    ),
    Mutation(
        name="tries-of-a-spawn-end",
        file="pods/spawning.py",
        before="if pod.attempts >= TRIES:",
        after="if False:",
        tests=(
            "tests/integration/pods/test_spawn_faults.py::"
            "test_a_create_that_never_answers_and_is_never_listed_is_tried_a_few_times_only",
        ),
    ),
    Mutation(
        name="tries-of-a-resume-end",
        file="pods/resuming.py",
        before="if pod.attempts >= TRIES:",
        after="if False:",
        tests=(
            "tests/integration/pods/test_stopped_pods.py::"
            "test_a_stopped_pod_that_never_runs_again_is_replaced_after_some_tries",
        ),
    ),
    Mutation(
        name="an-outdated-form-is-refused",
        file="fleet/admin/fleet_form.py",
        before="if seen != current:",
        after="if False:",
        tests=(
            "tests/integration/fleet/admin/test_outdated_form.py::"
            "test_the_form_of_a_fleet_that_somebody_else_edited_meanwhile_is_refused",
        ),
    ),
    Mutation(
        name="an-error-of-a-retry-keeps-no-item",
        file="pods/agent/reclaim.py",
        before="            for entry in due:\n                self._holding.retry_later(entry, 1)\n",
        after="",
        tests=(
            "tests/integration/pods/agent/test_bytes_in_hand.py::"
            "test_items_whose_retry_met_an_error_are_tried_again_later",
        ),
    ),
    Mutation(
        name="no-globs-in-the-names-of-streams",
        file="pods/base/key_names.py",
        before="if not ALLOWED.fullmatch(name):",
        after="if False:",
        tests=(
            "tests/unit/pods/base/test_key_names.py::test_a_name_that_gives_other_rights_is_refused",
        ),
    ),
)
