"""What an agent makes of the reports of a Celery worker, for its heartbeat."""

import pytest

from pods.agent.celery_agent import Hand
from pods.agent.progress import Progress


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def hand(clock):
    made = Hand(Progress(clock), clock)
    made.begin()
    return made


def says(hand, clock, *, after=1.0, **said):
    clock.now += after
    hand.saw(said)


def test_idle_time_begins_when_the_last_task_ends_and_counts_no_task_twice(hand, clock):
    clock.now += 5
    assert (hand.idle_ms(), hand.oldest_ms(), len(hand)) == (5000, 0, 0)
    says(hand, clock, ready=True, done=0, in_hand=0, active=0)
    clock.now += 2
    assert hand.idle_ms() == 8000
    says(hand, clock, ready=True, done=0, in_hand=2, active=1)
    clock.now += 3
    assert (hand.idle_ms(), hand.oldest_ms(), len(hand)) == (0, 3000, 2)
    says(hand, clock, ready=True, done=1, in_hand=1, active=1)
    clock.now += 2
    assert (hand.idle_ms(), hand.oldest_ms()) == (0, 2000)  # since it finished a task
    says(hand, clock, ready=True, done=1, in_hand=1, active=1)
    assert hand.oldest_ms() == 3000
    says(hand, clock, ready=True, done=2, in_hand=0, active=0)
    clock.now += 4
    says(hand, clock, ready=True, done=2, in_hand=0, active=0)
    assert (hand.idle_ms(), hand.oldest_ms(), hand.held_ms()) == (5000, 0, 8000)
    assert hand._progress.counts().done == 2


def test_a_task_that_came_and_ended_between_two_reports_is_a_sign_of_work(hand, clock):
    says(hand, clock, ready=True, done=0, in_hand=0)
    says(hand, clock, after=60, ready=True, done=3, in_hand=0)
    assert (hand.idle_ms(), hand._progress.counts().done) == (0, 3)
    clock.now += 5
    assert hand.idle_ms() == 5000


def test_a_worker_that_is_not_ready_is_not_idle_for_long(hand, clock):
    says(hand, clock, after=60, ready=False, done=0, in_hand=0)
    assert hand.idle_ms() == 0


@pytest.mark.parametrize("odd", [{"done": "many"}, {"in_hand": None}, {}])
def test_a_report_that_makes_no_sense_changes_nothing(hand, clock, odd):
    says(hand, clock, ready=True, done=1, in_hand=2)
    before = clock.now
    says(hand, clock, ready=True, **{"done": 1, "in_hand": 2, **odd})
    assert len(hand) == 2
    assert (hand._progress.counts().done, hand.oldest_ms()) == (1, int((clock.now - before) * 1000))


def test_a_new_worker_counts_its_tasks_from_the_beginning(hand, clock):
    says(hand, clock, ready=True, done=5, in_hand=1)
    clock.now += 1
    hand.begin()
    assert (len(hand), hand.ready, hand.idle_ms()) == (0, False, 0)
    says(hand, clock, ready=True, done=1, in_hand=0)
    assert hand._progress.counts().done == 6


def test_the_time_of_a_worker_is_starting_busy_or_neither(hand, clock):
    says(hand, clock, after=4, ready=False, active=0)
    says(hand, clock, after=6, ready=False, active=0)
    says(hand, clock, after=0, ready=True, active=0)
    says(hand, clock, after=5, ready=True, active=1)
    says(hand, clock, after=5, ready=True, active=0)
    shares = hand.measured()
    assert (shares["starting"], shares["busy"]) == (0.5, 0.25)


def test_why_a_worker_is_broken_is_said_in_its_report(hand, clock):
    says(hand, clock, broken="ImportError: x")
    assert (hand.broken, hand.ready) == ("ImportError: x", False)
    says(hand, clock, ready=True)
    assert hand.broken == ""
