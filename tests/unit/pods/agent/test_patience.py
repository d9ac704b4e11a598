"""A call that fails is repeated, more slowly each time, until it succeeds or the agent must end."""

import logging
from contextlib import contextmanager

import pytest
import redis

from pods.agent.control import Control, Intent
from pods.agent.patience import LONGEST_PAUSE_SECONDS, GivenUp, Patience
from pods.agent.progress import Progress
from pods.agent.stream import Fenced


class Stepped(Control):
    """It waits in no time, and notes for how long; `asks` is asked for at the pause of that number."""

    def __init__(self, **asks):
        super().__init__()
        self.pauses, self.asks = [], asks

    def wait_beyond(self, intent, seconds):
        self.pauses.append(seconds)
        if self.asks and len(self.pauses) == self.asks["after"]:
            self.ask(self.asks["intent"], "asked")
        return self.intent > intent


class Stuck:
    """Counts how often a call is stuck, and whether one is now."""

    times = now = 0

    @contextmanager
    def __call__(self):
        self.times, self.now = self.times + 1, self.now + 1
        yield
        self.now -= 1


def failing(times, error=None):
    def call(tries):
        if tries < times:
            raise error or redis.ConnectionError("no server")
        return f"after {tries}"

    return call


def test_a_call_is_repeated_with_longer_pauses_until_it_succeeds():
    control, stuck, progress = Stepped(), Stuck(), Progress()
    patience = Patience(progress, control, 4, stuck)
    assert patience.with_("commit", failing(0), until=Intent.STOP) == "after 0"
    assert (control.pauses, stuck.times) == ([], 0)
    assert patience.with_("commit", failing(30), until=Intent.STOP) == "after 30"
    assert len(control.pauses) == 30
    assert 0.1 <= control.pauses[0] <= 0.2  # half of it is chance
    assert 0.4 <= control.pauses[2] <= 0.8
    assert min(control.pauses[6:]) >= LONGEST_PAUSE_SECONDS / 2
    assert max(control.pauses) <= LONGEST_PAUSE_SECONDS
    assert (stuck.times, stuck.now, progress.note) == (1, 0, "")


def test_the_first_failure_and_every_tenth_are_logged(caplog):
    with caplog.at_level(logging.WARNING, "podfleet.agent"):
        Patience(Progress(), Stepped(), 4).with_("commit", failing(25), until=Intent.STOP)
    assert [record.args[1] for record in caplog.records] == [1, 10, 20]


@pytest.mark.parametrize(
    ("until", "intent", "given_up"),
    [
        (Intent.DRAIN, Intent.DRAIN, True),
        (Intent.STOP, Intent.DRAIN, False),
        (Intent.STOP, Intent.STOP, True),
        (Intent.FENCED, Intent.STOP, False),
    ],
)
def test_a_call_is_given_up_only_for_its_intent_or_a_harder_one(until, intent, given_up):
    control, progress = Stepped(after=3, intent=intent), Progress()
    patience = Patience(progress, control, 4)
    if given_up:
        with pytest.raises(GivenUp, match="asked"):
            patience.with_("commit", failing(5), until=until)
        assert (len(control.pauses), progress.note) == (3, "commit: ConnectionError: no server")
    else:
        assert patience.with_("commit", failing(5), until=until) == "after 5"


def test_a_fenced_pod_repeats_nothing_and_says_so_in_its_exit_code():
    control = Stepped()
    with pytest.raises(GivenUp, match="written off"):
        Patience(Progress(), control, 4).with_(
            "commit", failing(1, Fenced("FENCED: written off")), until=Intent.FENCED
        )
    assert (control.pauses, control.intent, control.exit_code) == ([], Intent.FENCED, 4)


def test_an_error_that_cannot_pass_is_not_repeated():
    control = Stepped()
    with pytest.raises(TypeError):
        Patience(Progress(), control, 4).with_(
            "commit", failing(1, TypeError("a fault")), until=Intent.STOP
        )
    assert control.pauses == []
