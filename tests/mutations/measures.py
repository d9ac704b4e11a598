"""The lines that keep what an agent measures honest and harmless."""

from typing import Final

from tests.mutations.mutation import Mutation

SHARES = "tests/unit/pods/agent/test_agent_shares.py::"
MACHINE = "tests/unit/pods/agent/test_agent_machine.py::"
PROTOCOL = "tests/unit/pods/agent/test_agent_protocol.py::"
BOTTLENECK = "tests/unit/pods/test_bottleneck.py::"

MEASURES: Final = (
    Mutation(
        name="measures-within-bounds",
        file="pods/agent/measures.py",
        before="kind(max(0, min(value, most)))",
        after="kind(value)",
        tests=(
            SHARES + "test_whatever_is_measured_is_sent_within_the_bounds_that_the_manager_accepts",
        ),
    ),
    Mutation(
        name="no-measure-out-of-bounds",
        file="pods/agent/protocol.py",
        before="    if not 0 <= value <= most:  # this also refuses nan\n",
        after="    if False:\n",
        tests=(PROTOCOL + "test_a_measure_that_makes_no_sense_makes_the_heartbeat_unreadable",),
    ),
    Mutation(
        name="shares-of-one-whole",
        file="pods/agent/protocol.py",
        before="    if shares > 1 + SHARES_SLACK:\n",
        after="    if False:\n",
        tests=(PROTOCOL + "test_a_measure_that_makes_no_sense_makes_the_heartbeat_unreadable",),
    ),
    Mutation(
        name="an-unknown-measure-is-not-zero",
        file="pods/agent/protocol.py",
        before="str(UNKNOWN if value is None else value)",
        after="str(0 if value is None else value)",
        tests=(PROTOCOL + "test_a_measure_that_the_agent_does_not_know_is_unknown_and_not_zero",),
    ),
    Mutation(
        name="a-broken-driver-ends-no-agent",
        file="pods/agent/gpus.py",
        before="            except Exception as exc:",
        after="            except OSError as exc:",
        tests=(MACHINE + "test_a_driver_that_fails_is_unknown_and_asked_again_later",),
    ),
    Mutation(
        name="old-readings-of-a-gpu-are-unknown",
        file="pods/agent/gpus.py",
        before=" if at >= since]",
        after="]",
        tests=(
            MACHINE + "test_a_driver_that_hangs_delays_nobody_and_is_unknown_after_half_a_minute",
        ),
    ),
    Mutation(
        name="an-empty-stream-is-not-the-link",
        file="pods/agent/shares.py",
        before="holds[Hold.ROUND_TRIP] and not self._empty\n",
        after="holds[Hold.ROUND_TRIP]\n",
        tests=(SHARES + "test_round_trips_to_an_empty_stream_are_not_what_the_handler_waits_for",),
    ),
    Mutation(
        name="commits-hold-the-handler-up",
        file="pods/agent/outbox.py",
        before="            with self._held_up():\n",
        after="            if True:\n",
        tests=(SHARES + "test_an_outbox_that_is_full_says_that_the_handler_is_held_up",),
    ),
    Mutation(
        name="a-pod-without-work-is-idle",
        file="pods/bottleneck.py",
        before="    if spent.items_wait is False:\n        return Bottleneck.IDLE\n",
        after="",
        tests=(BOTTLENECK + "test_what_holds_a_pod_back",),
    ),
    Mutation(
        name="an-unknown-backlog-is-no-bottleneck",
        file="pods/bottleneck.py",
        before="    if spent.items_wait is None or spent.starved",
        after="    if spent.starved",
        tests=(
            BOTTLENECK
            + "test_a_pod_waits_only_if_items_wait_and_its_handler_does_not_work_all_the_time",
        ),
    ),
)
