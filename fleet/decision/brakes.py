"""What fails again and again: which tries of a template count, and how long the next one waits. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fleet.decision.values import Failing, Snapshot
from pods.rules import TAKEN_RULES, TRY_RULES, PodRule

# At most four pods in ten minutes, also if up to four fail at once: after the fourth failure the pause
# is ten minutes long.
FIRST_PAUSE: Final = timedelta(seconds=75)
LONGEST_PAUSE: Final = timedelta(hours=1)
MOST_DOUBLINGS: Final = 10  # far beyond the longest pause
# An agent that gives up so soon after its start is a failure although it finished a few items.
QUICK: Final = timedelta(minutes=10)
LONGEST_REASON: Final = 240  # characters; the sentence of a decision has 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """A pod of the template: whether it works, and how it ended if it did."""

    worked: bool  # it has finished an item
    rule: PodRule | None = None  # why it ends; None: it does not, or nobody knows
    interruptible: bool = False
    beats: bool = True  # it has an agent; False: a user's own consumer, whose items nobody counts
    at: datetime  # when it failed; if it did not, when it was requested
    ready_at: datetime | None = None  # when it became READY first
    because: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended before it had finished an item, or so soon that it is the same."""
        rule = self.rule
        if rule not in TRY_RULES or (self.interruptible and rule in TAKEN_RULES):
            return False
        if rule is PodRule.NEVER_BOOTED or self.ready_at is None:
            return True
        quick = self.at - self.ready_at < QUICK
        if not self.beats:
            return quick
        return not self.worked or (quick and rule is PodRule.AGENT_FAILED)


def failing(newest_first: Sequence[Try], *, try_again_at: datetime | None = None) -> Failing | None:
    """The failures since the last pod that works; None if there are none.

    `try_again_at`: when an operator last asked for another try. It ends a pause that began before.
    """
    failed: list[Try] = []
    for one in newest_first:
        if one.failed:
            failed.append(one)
        elif one.worked:
            break
    if not failed:
        return None
    newest = max(failed, key=lambda one: one.at)
    asked = try_again_at is not None and try_again_at >= newest.at
    return Failing(
        count=len(failed),
        at=newest.at,
        because=_usual(failed)[:LONGEST_REASON],
        until=newest.at if asked else newest.at + pause_after(len(failed)),
    )


def _usual(failed: Sequence[Try]) -> str:
    """Why most of them failed, in the words of the newest of these; the newest one decides a tie."""
    newest_first = sorted(failed, key=lambda one: one.at, reverse=True)
    (rule, count), *_ = Counter(one.rule for one in newest_first).most_common(1)
    because = next(one.because for one in newest_first if one.rule is rule)
    return because if count == len(failed) or not because else f"{count} of them: {because}"


def pause_after(failures: int) -> timedelta:
    """How long to wait after so many failures in a row; it doubles with each."""
    doublings = max(0, min(failures - 1, MOST_DOUBLINGS))
    factor: int = 2**doublings
    return min(FIRST_PAUSE * factor, LONGEST_PAUSE)


def said_of(count: int, because: str) -> str:
    """How many pods failed in a row, and why most of them did."""
    pods = "the last pod" if count == 1 else f"the last {count} pods"
    return f"{pods} failed before finishing an item ({because or 'no reason is known'})"


def trouble(seen: Snapshot) -> str:
    """What fails again and again, with its reason; "" if nothing does."""
    failing = seen.failing
    if failing is None:
        return ""
    what = said_of(failing.count, failing.because)
    if failing.until > seen.now:
        return f"{what}, so no pod starts before {failing.until:%H:%M:%S} UTC"
    return f"{what}, so one pod is tried at a time"
