"""What the list and the page of a pod say about its state and its end."""

from datetime import datetime, timedelta
from typing import Final

from pods import outcomes
from pods.base import words
from pods.bottleneck import Bottleneck
from pods.machine_names import short_name
from pods.models import Pod
from pods.outcomes import SAYS_MORE, Ending, Outcome, Shown, StateWords

LONGEST_DETAIL: Final = 200
NAME: Final = 8


def name_of(pod: Pod) -> str:
    """The part of its name that tells pods apart."""
    return short_name(pod.name, NAME)


def outcome_of(pod: Pod) -> Outcome | None:
    """How it ended, or is ending; None: it is not to end."""
    return outcomes.outcome_of(pod.status, pod.retire_rule, interruptible=pod.interruptible)


def state_of(pod: Pod, now: datetime) -> StateWords:
    """Its state in words."""
    return outcomes.words_of(_shown(pod, now))


def _shown(pod: Pod, now: datetime) -> Shown:
    return Shown(
        state=pod.status,
        retire_rule=pod.retire_rule,
        interruptible=pod.interruptible,
        bottleneck=Bottleneck(pod.bottleneck),
        idle_for=None if pod.idle_since is None else now - pod.idle_since,
        beat_age=None if pod.beat_at is None else now - pod.beat_at,
        silent_after=timedelta(seconds=pod.silent_seconds),
        in_state=now - pod.state_since,
        tries=pod.attempts,
    )


def headline(pod: Pod, now: datetime) -> str:
    """`Failed after 8 s: … cannot be loaded`, `Working for 3 h`."""
    outcome = outcome_of(pod)
    if outcomes.cannot_be_ended(_shown(pod, now)):
        since = words.duration(now - pod.state_since)
        return f"Cannot be ended for {since}: {pod.note or pod.because}"
    if outcome is None:
        return f"{state_of(pod, now).word} for {words.duration(now - pod.state_since)}"
    lived = (pod.failed_at or pod.ended_at or now) - pod.requested_at
    because = detail(pod) or outcome.reason
    ending = outcome.ending
    if pod.ended_at is None and not outcome.bad:
        text = "Being ended by admin" if ending is Ending.BY_ADMIN else "Finishing"
    else:
        text = ending.value
    return f"{text} after {words.duration(lived)}{f': {because}' if because else ''}"


def detail(pod: Pod) -> str:
    """What the agent or the vendor said, where that says more than the reason; only for people."""
    if pod.retire_rule not in SAYS_MORE:
        return ""
    said = pod.last_note or pod.lost_because or pod.retire_because or pod.because
    first = said.strip().partition("\n")[0]
    return first if len(first) <= LONGEST_DETAIL else f"{first[:LONGEST_DETAIL]}…"
