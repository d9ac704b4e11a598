"""The lines that give each request of a batch exactly one line in a file."""

from typing import Final

from tests.mutations.mutation import Mutation

UNIT = "tests/unit/fleet/batches/test_requests_and_outcomes.py::"
ADVANCING = "tests/integration/fleet/batches/test_advancing.py::"

BATCHES: Final = (
    Mutation(
        name="a-request-has-one-outcome",
        file="fleet/batches/settled.py",
        before="if not 0 <= number < self._total or number in self:",
        after="if not 0 <= number < self._total:",
        tests=(UNIT + "test_a_request_is_settled_once_and_stays_so",),
    ),
    Mutation(
        name="one-process-works-on-a-batch",
        file="fleet/batches/advancing.py",
        before="pk=batch_id, claimed_until__lte=now",
        after="pk=batch_id",
        tests=(ADVANCING + "test_while_one_process_has_the_lease_another_does_nothing",),
    ),
    Mutation(
        name="lines-need-the-lease-of-the-batch",
        file="fleet/batches/collecting.py",
        before="    if not mine(batch).update(**fields):",
        after="    if mine(batch).update(**fields) < 0:",
        tests=(ADVANCING + "test_a_process_that_was_overtaken_writes_nothing",),
    ),
    Mutation(
        name="no-request-is-passed-over-at-the-end-of-a-step",
        file="fleet/batches/requests.py",
        before="""            # Before the position moves: what was not yielded is read by the next call.
            if""",
        after="""            self._offset += len(line)
            if""",
        tests=(ADVANCING + "test_a_feed_that_runs_out_of_time_goes_on_with_the_next_request",),
    ),
)
