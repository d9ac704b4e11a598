"""Diagnoses one pod: from the facts about it to what is wrong with it. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from pods.states import BOOTING, READY, STOPPED, PodState


class Finding(StrEnum):
    """The result of a diagnosis."""

    HEALTHY = "healthy"
    REGISTERED = "registered"  # it booted: its agent sends heartbeats
    NEVER_BOOTED = "never_booted"  # its boot deadline has passed
    AGENT_FAILED = "agent_failed"  # the agent says that it cannot work
    AGENT_ENDED = "agent_ended"  # the agent drained unasked: preempted, or stopped by its host
    NOT_AS_ORDERED = "not_as_ordered"  # the provider gave less than was ordered, and bills for all
    MACHINE_FAILED = "machine_failed"  # the provider says that the machine will not run again
    STOPPED_UNASKED = "stopped_unasked"  # outbid, preempted, or stopped in the console
    STARTED_UNASKED = "started_unasked"  # a stopped pod that runs again
    ABSENT = "absent"  # the provider does not know the machine
    SILENT = "silent"  # sends no heartbeats and does not touch the stream
    HUNG = "hung"  # sends heartbeats, holds items and acknowledges none
    FAILING = "failing"  # every try fails, although other pods succeed, or since it began


# A provider's or an agent's own word is a fact. Silence may be our own fault, so only findings
# that are inferred are rationed when many pods look ill at once. That a pod is at fault, and not its
# items, is inferred too.
INFERRED: Final = frozenset({Finding.SILENT, Finding.HUNG, Finding.FAILING})


class MachineSays(StrEnum):
    """What the provider said about the pod's machine, as far as a diagnosis needs it."""

    NOT_ASKED = "not asked"  # or the answer cannot be used: this says nothing
    ABSENT = "absent"
    BOOTING = "booting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known about one pod. Unknown is None."""

    state: PodState
    in_state: timedelta
    machine: MachineSays
    lacks: str = ""  # what the machine that runs lacks of the order; "": nothing that is known
    absent_for: timedelta | None = None  # missing from complete lists; None: not missing
    list_lag: timedelta = timedelta(0)
    consistency_window: timedelta = timedelta(0)
    boot_deadline: timedelta
    silent_after: timedelta
    hang_after: timedelta
    beats_known: bool  # False: Redis did not answer, so nothing below says anything
    beat_age: timedelta | None = None  # None: no heartbeat
    # For how long Redis could be read without a break and lost nothing. None: it cannot be read now.
    heard_for: timedelta | None = None
    last_seen: timedelta | None = None  # since the last heartbeat that our row stores
    unread_age: timedelta | None = None  # of a heartbeat that another version may have written
    agent_working: bool = False  # the heartbeat says working
    agent_failed: bool = False
    agent_ended: bool = False
    all_fail: bool = False  # the agent's last tries all failed, and there were many
    finished: bool = True  # a pod that never finished an item is at fault, or its template is
    others_succeed: bool = False  # other pods of its fleet finish items at this moment
    oldest_in_hand: timedelta = timedelta(0)  # 0: nothing in hand
    since_ack: timedelta | None = None  # None: nothing acknowledged yet
    consumer_idle: timedelta | None = None  # since it got or settled an item; None: never
    consumer_asked: timedelta | None = None  # since it asked for items; None: no such consumer
    consumers_known: bool = True  # False: its group is missing, so no consumer can be seen


def diagnose(facts: Facts) -> Finding:
    """What is wrong with the pod; the provider's word counts before the agent's, then inference."""
    if facts.state is STOPPED:
        return _diagnose_stopped(facts)
    if facts.state not in {BOOTING, READY}:
        return Finding.HEALTHY
    if facts.machine is MachineSays.ABSENT:
        window = max(facts.list_lag, facts.consistency_window)
        late = facts.absent_for is not None and facts.absent_for >= window
        return Finding.ABSENT if late and facts.in_state >= facts.list_lag else Finding.HEALTHY
    if facts.machine is MachineSays.FAILED:
        return Finding.MACHINE_FAILED
    if facts.machine is MachineSays.STOPPED:
        return Finding.STOPPED_UNASKED
    if facts.lacks and facts.machine is MachineSays.RUNNING:
        return Finding.NOT_AS_ORDERED
    if not facts.beats_known:
        return Finding.HEALTHY
    return _diagnose_booting(facts) if facts.state is BOOTING else _diagnose_ready(facts)


def _diagnose_stopped(facts: Facts) -> Finding:
    if facts.machine is MachineSays.RUNNING:
        return Finding.STARTED_UNASKED
    if facts.machine is MachineSays.ABSENT and facts.absent_for is not None:
        return Finding.ABSENT if facts.absent_for >= facts.consistency_window else Finding.HEALTHY
    return Finding.HEALTHY


def _diagnose_booting(facts: Facts) -> Finding:
    # An old heartbeat of an earlier boot (a resumed pod) is not a registration.
    fresh = facts.beat_age is not None and facts.beat_age < min(facts.in_state, facts.silent_after)
    if fresh and facts.agent_failed:
        return Finding.AGENT_FAILED
    if fresh and facts.agent_working:
        return Finding.REGISTERED
    # A user's own consumer sends no heartbeats: reading the backlog is its sign of life.
    if facts.beat_age is None and _asks(facts, within=min(facts.in_state, facts.silent_after)):
        return Finding.REGISTERED
    late = facts.in_state > facts.boot_deadline and _listened(facts, facts.silent_after)
    return Finding.NEVER_BOOTED if late else Finding.HEALTHY


def _listened(facts: Facts, within: timedelta) -> bool:
    """Whether Redis was read and kept its data for so long that a sign would have been seen."""
    return facts.heard_for is not None and facts.heard_for > within


def _asks(facts: Facts, *, within: timedelta) -> bool:
    return facts.consumer_asked is not None and facts.consumer_asked < within


def _diagnose_ready(facts: Facts) -> Finding:
    if facts.agent_failed:
        return Finding.AGENT_FAILED
    if facts.agent_ended:
        return Finding.AGENT_ENDED
    # A Redis that was emptied or restored has no heartbeat or an old one, so the row counts too.
    signs = (facts.beat_age, facts.last_seen, facts.unread_age)
    heard = min((age for age in signs if age is not None), default=None)
    silent = heard is None or heard > facts.silent_after
    idle = facts.consumer_idle
    if facts.beat_age is None and _asks(facts, within=facts.silent_after):
        return Finding.HEALTHY
    if silent and facts.in_state > facts.silent_after:
        lively = idle is not None and idle <= facts.silent_after
        plain_unseen = heard is None and not facts.consumers_known
        if lively or plain_unseen or not _listened(facts, facts.silent_after):
            return Finding.HEALTHY
        return Finding.SILENT
    # A long idle agent has an old acknowledgement, and an agent with a slow item has an old item:
    # only both together are a hang. While Redis was away no agent could acknowledge.
    since_ack = facts.oldest_in_hand if facts.since_ack is None else facts.since_ack
    hung = min(facts.oldest_in_hand, since_ack) > facts.hang_after
    if hung and _listened(facts, facts.hang_after):
        return Finding.HUNG
    return Finding.FAILING if _fails_everything(facts) else Finding.HEALTHY


def _fails_everything(facts: Facts) -> bool:
    """Whether the pod says so now, and is at fault: others succeed, or it never finished an item."""
    now = facts.beat_age is not None and facts.beat_age <= facts.silent_after
    at_fault = facts.others_succeed or not facts.finished
    return facts.all_fail and at_fault and now and _listened(facts, facts.silent_after)
