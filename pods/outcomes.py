"""How a pod ended, and how a page names its state: by columns of its row, never by a text. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from pods.bottleneck import Bottleneck
from pods.rules import (
    DESTROY_PATIENCE,
    DESTROY_TRIES,
    LOST_RULES,
    NO_MACHINE_RULES,
    TAKEN_RULES,
    PodRule,
)
from pods.states import ENDED, FAILED, LOST, READY, TERMINATING, PodState


class Ending(StrEnum):
    """How a pod ended, or will have ended."""

    FINISHED = "Finished"  # a decision ended it: nothing was left to do, or a limit was reached
    FAILED = "Failed"
    LOST = "Lost"  # the vendor ended it
    BY_ADMIN = "Ended by admin"


ENDED_BY_PEOPLE: Final = frozenset({PodRule.OPERATOR, PodRule.STOP_ALL, PodRule.PAUSED})
FAILED_RULES: Final = NO_MACHINE_RULES | {
    PodRule.NEVER_BOOTED,
    PodRule.AGENT_FAILED,
    PodRule.AGENT_ENDED,
    PodRule.SILENT,
    PodRule.HUNG,
    PodRule.FAILING,
    PodRule.NOT_AS_ORDERED,
    PodRule.STARTED_UNASKED,
    PodRule.CANNOT_RESUME,
}
BAD_RULES: Final = FAILED_RULES | LOST_RULES
BAD_STATES: Final = frozenset({FAILED, LOST})
# Rules of rows of an older version, which say nothing: the state says how such a pod ended.
SILENT_RULES: Final = frozenset({"", PodRule.OTHER.value})
REASONS: Final[Mapping[PodRule, str]] = {
    PodRule.WANTED: "",
    PodRule.ADOPTED: "",
    PodRule.NEVER_BOOTED: "its agent never reported",
    PodRule.AGENT_FAILED: "its agent cannot work",
    PodRule.AGENT_ENDED: "its agent ended unasked",
    PodRule.MACHINE_FAILED: "its machine failed",
    PodRule.STOPPED_UNASKED: "the vendor stopped it",
    PodRule.STARTED_UNASKED: "it was started by somebody else",
    PodRule.ABSENT: "the vendor no longer has it",
    PodRule.SILENT: "no sign of life",
    PodRule.HUNG: "it finished no item for too long",
    PodRule.FAILING: "all its tries failed",
    PodRule.TOLERATED_FAILURE_PERCENT: "too many rows of the dataset failed",
    PodRule.NOT_AS_ORDERED: "not the machine that was ordered",
    PodRule.STOP_ALL: "everything or the fleet was stopped",
    PodRule.PAUSED: "the fleet was paused",
    PodRule.SAMPLE: "it had measured its speed for a quote",
    PodRule.MAX_INSTANCES: "Max pods",
    PodRule.MAX_HOURLY_USD: "highest spend per hour",
    PodRule.DAILY_BUDGET_USD: "budget per day",
    PodRule.TOTAL_BUDGET_USD: "total budget",
    PodRule.INSTALLATION_DAILY_BUDGET: "budget per day of all fleets",
    PodRule.BUDGET_USD: "budget of the goal",
    PodRule.GOAL: "another pod does its work for the fleet's goal",
    PodRule.IDLE: "nothing left to do",
    PodRule.STRAGGLER: "slower than the others",
    PodRule.MAX_POD_HOURS: "longest life of a pod",
    PodRule.OLD_CODE: "replaced by a pod with newer code",
    PodRule.STOPPED: "a limit for stopped pods",
    PodRule.MAX_STOPPED_HOURS: "stopped for too long",
    PodRule.NO_CAPACITY: "the vendor had no free machine",
    PodRule.QUOTA_EXCEEDED: "the vendor's quota is used up",
    PodRule.AUTH_FAILED: "the vendor refused the key",
    PodRule.NOT_FOUND: "the offer was gone",
    PodRule.REFUSED: "the vendor refused",
    PodRule.DECLINED: "the vendor declined",
    PodRule.NO_ANSWER: "the vendor did not answer",
    PodRule.CANNOT_CONNECT: "the account cannot be used",
    PodRule.DUPLICATE_MACHINE: "the vendor gave another pod's machine",
    PodRule.CANNOT_RESUME: "it could not be resumed",
    PodRule.OPERATOR: "",
    PodRule.ORPHAN: "an unknown machine, destroyed",
    PodRule.OTHER: "",
}
# Where the text of the row says more than the rule: what the agent or the vendor answered.
SAYS_MORE: Final = (
    NO_MACHINE_RULES
    | LOST_RULES
    | {PodRule.AGENT_FAILED, PodRule.FAILING, PodRule.NOT_AS_ORDERED, PodRule.CANNOT_RESUME}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a pod ended, and why."""

    ending: Ending
    reason: str  # "": nothing more is known, or to say

    @property
    def bad(self) -> bool:
        """Whether it ended as nobody wanted."""
        return self.ending in {Ending.FAILED, Ending.LOST}

    @property
    def icon(self) -> str:
        """The sign that stands before the word."""
        return "✖" if self.bad else "✓"

    @property
    def tone(self) -> str:
        """The colour that goes with the sign."""
        return "red" if self.bad else "grey"

    def __str__(self) -> str:
        return f"{self.ending.value}: {self.reason}" if self.reason else self.ending.value


def outcome_of(state: PodState, retire_rule: str, *, interruptible: bool = False) -> Outcome | None:
    """How a pod ended, also while it is still ending; None: it is not to end."""
    if retire_rule in SILENT_RULES:
        if state not in ENDED:
            return None
        ending = {FAILED: Ending.FAILED, LOST: Ending.LOST}.get(state, Ending.FINISHED)
        return Outcome(ending=ending, reason="")
    rule = PodRule(retire_rule)
    return Outcome(ending=_ending(rule, interruptible=interruptible), reason=REASONS[rule])


def _ending(rule: PodRule, *, interruptible: bool) -> Ending:
    if rule in ENDED_BY_PEOPLE:
        return Ending.BY_ADMIN
    if rule in LOST_RULES or (interruptible and rule in TAKEN_RULES):
        return Ending.LOST
    return Ending.FAILED if rule in FAILED_RULES else Ending.FINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWords:
    """How a state is shown: icon, word and colour always together."""

    icon: str
    word: str
    tone: str


def _blue(word: str) -> StateWords:
    return StateWords(icon="◐", word=word, tone="blue")


PLAIN: Final[Mapping[PodState, StateWords]] = {
    PodState.REQUESTED: _blue("Requested"),
    PodState.CREATING: _blue("Creating"),
    PodState.BOOTING: _blue("Booting"),
    PodState.READY: StateWords(icon="●", word="Working", tone="green"),
    PodState.DRAINING: _blue("Draining"),
    PodState.STOPPING: _blue("Stopping"),
    PodState.STOPPED: StateWords(icon="‖", word="Stopped", tone="grey"),
    PodState.RESUMING: _blue("Resuming"),
    PodState.TERMINATING: _blue("Ending"),
    PodState.TERMINATED: StateWords(icon="✓", word="Ended", tone="grey"),
    PodState.FAILED: StateWords(icon="✖", word="Failed", tone="red"),
    PodState.LOST: StateWords(icon="✖", word="Lost", tone="red"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The columns of a row that its state is named by. Unknown is None."""

    state: PodState
    retire_rule: str = ""
    interruptible: bool = False
    bottleneck: Bottleneck = Bottleneck.UNKNOWN
    idle_for: timedelta | None = None  # None: it has work
    beat_age: timedelta | None = None  # None: no heartbeat, as of a user's own consumer
    silent_after: timedelta = timedelta(minutes=1)
    in_state: timedelta = timedelta(0)
    tries: int = 0  # of the present step


def cannot_be_ended(pod: Shown) -> bool:
    """Whether it is not gone after the tries and the time of its alert."""
    late = pod.tries >= DESTROY_TRIES and pod.in_state >= DESTROY_PATIENCE
    return pod.state is TERMINATING and late


def words_of(pod: Shown) -> StateWords:
    """The icon, the word and the colour of a pod's state."""
    if cannot_be_ended(pod):
        return StateWords(icon="✖", word="Cannot be ended", tone="red")
    if pod.state in ENDED:
        outcome = outcome_of(pod.state, pod.retire_rule, interruptible=pod.interruptible)
        assert outcome is not None
        word = outcome.ending.value if outcome.bad else "Ended"
        return StateWords(icon=outcome.icon, word=word, tone=outcome.tone)
    if pod.state is not READY:
        return PLAIN[pod.state]
    if pod.beat_age is not None and pod.beat_age > pod.silent_after:
        return StateWords(icon="?", word="Unknown: no heartbeat", tone="amber")
    if pod.bottleneck is Bottleneck.FAILING:
        return StateWords(icon="✖", word="Failing", tone="red")
    if pod.idle_for is not None:
        return StateWords(icon="○", word="Idle", tone="grey")
    return PLAIN[READY]
