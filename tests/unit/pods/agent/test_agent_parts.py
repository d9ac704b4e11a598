"""The small parts of the agent: routes, lease, intents, rate, and the size of commits."""

import pytest

from pods.agent.control import Control, Intent
from pods.agent.handlers import pace
from pods.agent.heartbeat import Lease
from pods.agent.held_time import HeldTime
from pods.agent.json_words import why_no_json
from pods.agent.progress import Progress
from pods.agent.protocol import MOST_FAILING, AgentSettings
from pods.agent.routing import Routes
from pods.agent.settling import believed
from pods.agent.stream import LARGEST_COMMIT_BYTES, LARGEST_STEP, Failure, ItemResult, split
from pods.agent.trickle import LONGEST_PAUSE_SECONDS, PAUSE_SECONDS, Trickle


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def settings_with(**changes):
    return AgentSettings(
        redis_url="redis://x",
        fleet="f",
        pod="p",
        stream="tasks",
        group="g",
        handler="m:f",
        **changes,
    )


@pytest.mark.parametrize(
    ("reply_to", "target"),
    [
        ("", "tasks:results"),
        ("tasks:results", "tasks:results"),
        ("tasks:results:app-1", "tasks:results:app-1"),
        ("app:7", "app:7"),
        ("other", None),
        ("tasks", None),
        ("tasks:dead", None),
        ("podfleet:f:lease", None),
    ],
)
def test_a_result_goes_only_where_the_fleet_allows(reply_to, target):
    assert Routes(settings_with(reply_to="app:*, tasks*")).target(reply_to) == target


def test_no_pattern_lets_an_item_write_a_key_of_the_fleet_or_its_backlog():
    routes = Routes(settings_with(reply_to="*"))
    said = [routes.target(name) for name in ("podfleet:f:lease", "tasks", "tasks:dead", "x")]
    assert said == [None, None, None, "x"]


def test_without_a_list_only_the_fleets_own_results_are_allowed():
    assert Routes(settings_with()).target("app:7") is None


def test_a_lease_that_moves_proves_a_manager_and_one_that_stands_does_not():
    clock = Clock()
    lease = Lease(clock)
    lease.saw(b"5")
    clock.now += 100
    lease.saw(b"5")
    assert lease.unchanged_seconds() == 100
    lease.saw(b"6")
    assert lease.unchanged_seconds() == 0


def test_a_lease_that_vanishes_proves_nothing():
    clock = Clock()
    lease = Lease(clock)
    lease.saw(b"5")
    clock.now += 100
    lease.saw(b"")
    assert lease.unchanged_seconds() == 100


def test_an_intent_only_gets_harder():
    control = Control()
    assert control.ask(Intent.STOP, "first", exit_code=3)
    assert not control.ask(Intent.DRAIN, "second")
    assert (control.intent, control.because, control.exit_code) == (Intent.STOP, "first", 3)
    assert control.ask(Intent.FENCED, "third")
    assert control.exit_code == 3  # the reason for the end is the first one
    assert not control.working


def test_the_rate_is_that_of_the_last_half_minute():
    clock = Clock()
    progress = Progress(clock)
    clock.now += 10
    progress.add(done=100)
    assert progress.rate() == 10
    clock.now += 25
    progress.add(done=30)
    assert progress.rate() == pytest.approx(130 / 30)
    clock.now += 10
    assert progress.rate() == 1
    assert progress.since_ack_ms() == 10_000


def test_an_agent_that_has_just_begun_has_no_rate_and_no_acknowledgement():
    clock = Clock()
    progress = Progress(clock)
    assert (progress.rate(), progress.since_ack_ms()) == (0, -1)
    clock.now += 100
    progress.failed_in_a_row(tries=["1-0"])
    progress.add(failed=1)  # no item is done
    assert (progress.rate(), progress.since_ack_ms(), progress.failing) == (0, -1, 1)


def some(first, count):
    return [f"{n}-0" for n in range(first, first + count)]


def test_a_pod_whose_tries_all_fail_takes_an_item_now_and_then_until_one_succeeds():
    clock = Clock()
    progress = Progress(clock)
    trickle = Trickle(progress, clock)
    progress.failed_in_a_row(tries=some(0, MOST_FAILING - 1))
    assert trickle.most(64) == 64
    progress.failed_in_a_row(tries=some(0, 10))  # again
    assert trickle.most(64) == 64
    progress.failed_in_a_row(tries=some(50, 1))
    assert trickle.most(64) == 1
    assert progress.note == f"the last {MOST_FAILING} items failed"
    trickle.took(1)
    assert trickle.most(64) == 0
    clock.now += PAUSE_SECONDS
    assert trickle.most(64) == 1
    trickle.took(1)
    clock.now += 2 * PAUSE_SECONDS - 1
    assert trickle.most(64) == 0  # the pause doubles
    clock.now += 1
    assert trickle.most(64) == 1
    for _ in range(20):
        trickle.took(1)
    clock.now += LONGEST_PAUSE_SECONDS
    assert trickle.most(64) == 1
    progress.add(done=1)
    assert (trickle.most(64), progress.failing, progress.note) == (64, 0, "")


def test_only_an_item_that_was_taken_while_everything_fails_begins_a_pause():
    progress = Progress(Clock())
    trickle = Trickle(progress, Clock())
    trickle.took(64)  # all is well
    progress.failed_in_a_row(tries=some(0, MOST_FAILING))
    trickle.took(0)
    assert trickle.most(64) == 1
    trickle.took(1)
    assert trickle.most(64) == 0


def test_tries_that_no_other_try_can_help_count_for_the_trickle_too():
    progress = Progress(Clock())
    trickle = Trickle(progress, Clock())
    progress.failed_in_a_row(tries=some(0, 4))
    progress.failed_in_a_row(final=some(2, MOST_FAILING - 3), error="no field")
    assert (trickle.on, progress.note) == (False, "")
    progress.failed_in_a_row(final=some(90, 1))
    assert trickle.on
    assert progress.note == "the last 32 items failed, 30 of them for good: no field"
    assert (progress.failing, progress.final) == (2, 30)  # the pod is at fault for the first two
    progress.add(done=1)
    assert (trickle.on, progress.final) == (False, 0)


def test_no_more_failures_are_final_than_may_be_in_a_row():
    failures = [Failure(f"{n}-0", "no field", final=n != 1) for n in range(5)]
    assert [f.final for f in believed(failures, 2)] == [True, False, True, False, False]
    assert believed(failures, 4) == failures


def test_a_fault_is_in_the_note_until_it_is_over():
    progress = Progress(Clock())
    progress.trouble("commit", "TimeoutError")
    progress.trouble("backlog", "NOGROUP")
    assert progress.note == "commit: TimeoutError; backlog: NOGROUP"
    progress.over("commit")
    assert progress.note == "backlog: NOGROUP"


def result_of(size):
    return ItemResult("1-0", b"1", "tasks:results", b"x" * size)


def test_a_commit_is_cut_where_the_server_would_refuse_it():
    half = LARGEST_COMMIT_BYTES // 2
    assert [len(p) for p in split([result_of(half + 1)] * 3)] == [1, 1, 1]
    assert [len(p) for p in split([result_of(half)] * 3)] == [2, 1]
    assert [len(p) for p in split([result_of(1)] * (LARGEST_STEP + 1))] == [LARGEST_STEP, 1]
    assert split([]) == []


class Sleeper:
    """A clock whose `sleep` takes a little longer than asked for, as in reality."""

    now = 0.0
    late = 0.02

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds + self.late


def test_a_pace_is_kept_although_every_sleep_is_a_little_late(monkeypatch):
    clock = Sleeper()
    monkeypatch.setattr(pace, "time", clock)
    worker = pace.Pace(8)
    for _ in range(100):
        worker([None] * 8)
        clock.now += 0.05  # the agent's own overhead
    assert clock.now == pytest.approx(100, abs=0.2)


def test_idle_time_is_not_made_up_for_by_a_burst(monkeypatch):
    clock = Sleeper()
    monkeypatch.setattr(pace, "time", clock)
    worker = pace.Pace(8)
    worker([None] * 8)
    clock.now += 3600
    began = clock.now
    for _ in range(10):
        worker([None] * 8)
    assert clock.now - began >= 10 - pace.LONGEST_CATCH_UP_SECONDS


def test_the_time_with_work_in_hand_begins_with_the_work():
    clock = Clock()
    held = HeldTime(clock)
    held.holds(False)
    clock.now += 5
    assert held.ms() == 0
    held.holds(True)
    clock.now += 1
    held.holds(True)
    clock.now += 1
    assert held.ms() == 2000


def test_why_a_text_is_no_json_is_said_in_words_for_people():
    assert why_no_json(RecursionError("maximum recursion depth exceeded")) == (
        "it is nested too deeply"
    )
    assert why_no_json(ValueError("Expecting value")) == "Expecting value"
