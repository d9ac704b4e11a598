"""What an agent knows of its link, and how much it therefore reads ahead."""

from pods.agent.holding import Holding
from pods.agent.stream import Entry
from pods.agent.window import LEAST_OF_SECONDS, RoundTrips


def test_the_round_trip_time_is_the_least_of_the_recent_calls() -> None:
    calls = RoundTrips(0.0)
    assert calls.seconds is None
    for seconds in (0.09, 0.08, 0.5):
        calls.took(seconds, 1.0)
    assert calls.seconds == 0.08
    calls.took(0.2, LEAST_OF_SECONDS)
    assert calls.seconds == 0.08  # the time before still counts
    calls.took(0.3, 2 * LEAST_OF_SECONDS)
    assert calls.seconds == 0.2


def test_the_bytes_in_hand_are_those_of_the_payloads_that_are_still_needed() -> None:
    holding = Holding(2, lambda: 0.0)
    holding.tune(2, 0.001)
    assert (holding.bytes_held, holding.rtt_seconds) == (0, None)
    holding.add([Entry(f"{n}-0", {b"p": b"x" * 9}, 1, 10) for n in range(4)])
    assert holding.bytes_held == 40
    [batch] = holding.take_batches(1, 0)
    assert holding.bytes_held == 40
    holding.worked(batch)
    assert holding.bytes_held == 20
    holding.round_trip(0.08)
    assert holding.rtt_seconds == 0.08
