"""How pods ended, and how their states are named, by the columns of their rows."""

from datetime import timedelta

import pytest

from pods.bottleneck import Bottleneck
from pods.outcomes import REASONS, Shown, outcome_of, words_of
from pods.rules import BROKEN_RULES, DESTROY_PATIENCE, DESTROY_TRIES, PodRule
from pods.states import (
    BOOTING,
    DRAINING,
    ENDED,
    FAILED,
    LOST,
    READY,
    TERMINATED,
    TERMINATING,
    PodState,
)

TONES = {"✖": "red", "?": "amber", "◐": "blue", "●": "green", "✓": "grey", "○": "grey", "‖": "grey"}
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("rule", list(PodRule))
@pytest.mark.parametrize("state", sorted(ENDED))
def test_each_ended_row_has_an_outcome_and_each_rule_a_reason(
    state: PodState, rule: PodRule
) -> None:
    assert rule in REASONS
    outcome = outcome_of(state, rule.value)
    assert outcome is not None
    assert (outcome.icon, outcome.tone) in {("✖", "red"), ("✓", "grey")}
    assert not REASONS[rule].endswith(".")


@pytest.mark.parametrize(
    ("state", "rule", "interruptible", "said"),
    [
        (TERMINATED, "idle", False, "Finished: nothing left to do"),
        (TERMINATED, "daily_budget_usd", False, "Finished: budget per day"),
        (TERMINATED, "operator", False, "Ended by admin"),
        (FAILED, "operator", False, "Ended by admin"),  # it was not rented yet
        (TERMINATED, "stop_all", False, "Ended by admin: everything or the fleet was stopped"),
        (TERMINATED, "agent_failed", False, "Failed: its agent cannot work"),
        (TERMINATING, "agent_failed", False, "Failed: its agent cannot work"),
        (FAILED, "no_capacity", False, "Failed: the vendor had no free machine"),
        (LOST, "absent", False, "Lost: the vendor no longer has it"),
        (TERMINATED, "agent_ended", False, "Failed: its agent ended unasked"),
        (TERMINATED, "agent_ended", True, "Lost: its agent ended unasked"),
        (TERMINATED, "agent_failed", True, "Failed: its agent cannot work"),
        (TERMINATED, "", False, "Finished"),
        (FAILED, "other", False, "Failed"),
        (LOST, "", False, "Lost"),
    ],
)
def test_an_outcome_has_its_reason(
    state: PodState, rule: str, interruptible: bool, said: str
) -> None:
    assert str(outcome_of(state, rule, interruptible=interruptible)) == said


@pytest.mark.parametrize("state", sorted(set(PodState) - ENDED))
def test_a_pod_that_nobody_ends_has_no_outcome(state: PodState) -> None:
    assert outcome_of(state, "") is None


def test_what_broke_is_not_shown_as_a_normal_end() -> None:
    slow = {PodRule.STRAGGLER}  # it worked, and others were faster
    for rule in BROKEN_RULES - slow:
        outcome = outcome_of(TERMINATED, rule.value)
        assert outcome is not None
        assert outcome.bad, rule


@pytest.mark.parametrize("state", list(PodState))
@pytest.mark.parametrize("rule", ["", "idle", "agent_failed"])
@pytest.mark.parametrize("bottleneck", list(Bottleneck))
def test_icon_and_colour_go_together(state: PodState, rule: str, bottleneck: Bottleneck) -> None:
    for idle, beat in ((None, None), (MINUTE, MINUTE), (None, 9 * MINUTE)):
        words = words_of(
            Shown(
                state=state, retire_rule=rule, bottleneck=bottleneck, idle_for=idle, beat_age=beat
            )
        )
        assert TONES[words.icon] == words.tone
        assert words.word[0].isupper()


def test_a_ready_pod_works_idles_fails_or_is_unknown() -> None:
    def word(**seen: object) -> str:
        return words_of(Shown(state=READY, **seen)).word  # type: ignore[arg-type]

    assert word() == "Working"
    assert word(beat_age=MINUTE, silent_after=MINUTE) == "Working"
    assert word(idle_for=MINUTE) == "Idle"
    assert word(bottleneck=Bottleneck.FAILING, idle_for=MINUTE) == "Failing"
    late = MINUTE + timedelta(seconds=1)
    assert word(beat_age=late, bottleneck=Bottleneck.FAILING) == "Unknown: no heartbeat"
    assert words_of(Shown(state=BOOTING, beat_age=late)).word == "Booting"
    assert words_of(Shown(state=DRAINING)).tone == "blue"


def test_a_pod_cannot_be_ended_after_the_tries_and_the_time_of_its_alert() -> None:
    def word(tries: int, since: timedelta) -> str:
        return words_of(Shown(state=TERMINATING, tries=tries, in_state=since)).word

    assert word(DESTROY_TRIES, DESTROY_PATIENCE) == "Cannot be ended"
    assert word(DESTROY_TRIES - 1, DESTROY_PATIENCE) == "Ending"
    assert word(DESTROY_TRIES, DESTROY_PATIENCE - timedelta(seconds=1)) == "Ending"
    ready = Shown(state=READY, tries=DESTROY_TRIES, in_state=DESTROY_PATIENCE)
    assert words_of(ready).word == "Working"


@pytest.mark.parametrize(
    ("state", "rule", "icon", "word"),
    [
        (TERMINATED, "idle", "✓", "Ended"),
        (TERMINATED, "agent_failed", "✖", "Failed"),
        (TERMINATED, "absent", "✖", "Lost"),
        (LOST, "operator", "✓", "Ended"),
    ],
)
def test_an_ended_pod_is_named_by_how_it_ended(
    state: PodState, rule: str, icon: str, word: str
) -> None:
    words = words_of(Shown(state=state, retire_rule=rule))
    assert (words.icon, words.word) == (icon, word)
    outcome = outcome_of(state, rule)
    assert outcome is not None
    assert outcome.bad is (icon == "✖")
