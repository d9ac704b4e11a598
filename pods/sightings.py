"""What one look at a pod showed, at its provider and in its Redis, and the facts that follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pods.agent.protocol import MEASURES, MOST_FAILING, AgentState, Heartbeat
from pods.agent_redis.heartbeats import Beat, Consumer, Readings
from pods.diagnosis import Facts, MachineSays
from pods.models import Pod
from pods.providers.base import Capabilities, Machine, Phase
from pods.received import Ordered, Received, shortfall
from pods.states import BOOTING, DRAINING, READY

# An agent's rate is over this time, or over its life if that is shorter.
RATE_WINDOW_SECONDS: Final = 30.0
# The counts and the rate of a heartbeat are not read at the same moment.
RATE_SLACK: Final = 2
# A batch may take its whole timeout, and the agent needs some time to cut it off.
HANG_FACTOR: Final = 2
SAYS: Final[Mapping[Phase, MachineSays]] = {
    Phase.BOOTING: MachineSays.BOOTING,
    Phase.RUNNING: MachineSays.RUNNING,
    Phase.STOPPING: MachineSays.RUNNING,
    Phase.STOPPED: MachineSays.STOPPED,
    Phase.FAILED: MachineSays.FAILED,
    Phase.GONE: MachineSays.ABSENT,
    Phase.UNKNOWN: MachineSays.NOT_ASKED,
}
# A pod in any other state has no agent, or one that is cut off from the backlog.
FINISHES: Final = frozenset({BOOTING, READY, DRAINING})
_NOTHING: Final = Readings(beats={}, consumers={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one look showed about one pod. None: it could not be read."""

    at: datetime
    asked: bool  # False: the provider did not answer, so a missing machine says nothing
    machine: Machine | None
    read: bool  # False: its Redis did not answer, so nothing below says anything
    beat: Beat | None
    unread_age: timedelta | None  # the age of a heartbeat that cannot be understood
    consumer: Consumer | None
    grouped: bool  # False: its group cannot be read, so a missing consumer says nothing
    remembers: timedelta | None  # for how long its Redis has kept its data

    @property
    def says(self) -> MachineSays:
        """What the provider says about the machine."""
        if not self.asked:
            return MachineSays.NOT_ASKED
        return MachineSays.ABSENT if self.machine is None else SAYS[self.machine.phase]


def sighting(
    pod: Pod, machine: Machine | None, readings: Readings | None, *, asked: bool, at: datetime
) -> Sighting:
    """The part of all readings that belongs to this pod; `readings`: None if Redis did not answer."""
    found = _NOTHING if readings is None else readings
    return Sighting(
        at=at,
        asked=asked,
        machine=machine,
        read=readings is not None and pod.pk not in readings.unheard,
        beat=found.beats.get(pod.pk),
        unread_age=found.unread.get(pod.pk),
        consumer=found.consumers.get(pod.pk),
        grouped=pod.pk in found.grouped,
        remembers=found.remembers.get(pod.pk),
    )


def all_fail(seen: Sighting) -> bool:
    """Whether the pod's agent says that its last tries all failed, and another pod could help.

    Items that fail for good do not count: every pod with this handler fails them, so to end this one
    would help nobody, and its host would be avoided for nothing.
    """
    return seen.beat is not None and seen.beat.said.failing >= MOST_FAILING


def fails_all(said: Heartbeat) -> bool | None:
    """Whether an agent's last tries all failed, also for good; None: it has not tried enough to know."""
    if said.failing + said.final >= MOST_FAILING:
        return True
    return False if said.done else None


def measures_of(said: Heartbeat) -> dict[str, float]:
    """What an agent measured, by the names of the protocol, without what it does not know."""
    values = {name: getattr(said, name) for name in MEASURES}
    return {name: value for name, value in values.items() if value is not None}


def facts_of(
    pod: Pod, seen: Sighting, capabilities: Capabilities, *, others_succeed: bool = False
) -> Facts:
    """The facts for a diagnosis, from the row, the sighting and the provider's capabilities.

    `others_succeed`: other pods of the fleet finish items at this moment.
    """
    timeout = float(pod.agent.get("handler_timeout_seconds", 600))
    shared: dict[str, Any] = {
        "state": pod.status,
        "in_state": seen.at - pod.state_since,
        "machine": seen.says,
        "lacks": lacks(pod, seen.machine),
        "absent_for": None if pod.absent_since is None else seen.at - pod.absent_since,
        "list_lag": capabilities.list_lag,
        "consistency_window": capabilities.consistency_window,
        "boot_deadline": timedelta(seconds=pod.boot_seconds),
        "silent_after": timedelta(seconds=pod.silent_seconds),
        "hang_after": timedelta(seconds=HANG_FACTOR * timeout),
        "beats_known": seen.read,
        "unread_age": seen.unread_age,
        "heard_for": _heard_for(pod, seen),
        "last_seen": None if pod.beat_at is None else seen.at - pod.beat_at,
        "consumer_idle": seen.consumer.idle if seen.consumer else None,
        "consumer_asked": seen.consumer.asked if seen.consumer else None,
        "consumers_known": seen.grouped,
    }
    if seen.beat is None:
        return Facts(**shared)
    said = seen.beat.said
    return Facts(
        **shared,
        beat_age=seen.beat.age,
        all_fail=all_fail(seen),
        finished=bool(pod.done or said.done),
        others_succeed=others_succeed,
        agent_working=said.state is AgentState.WORKING,
        agent_failed=said.state is AgentState.FAILED,
        agent_ended=said.state in {AgentState.DRAINED, AgentState.DRAINING},
        oldest_in_hand=timedelta(milliseconds=said.oldest_ms),
        since_ack=None if said.since_ack_ms < 0 else timedelta(milliseconds=said.since_ack_ms),
    )


def is_loading(pod: Pod, seen: Sighting) -> bool:
    """Whether its agent sends heartbeats of this boot and says that its handler still loads."""
    if seen.beat is None or seen.beat.said.state is not AgentState.STARTING:
        return False
    return seen.beat.age < min(seen.at - pod.state_since, timedelta(seconds=pod.silent_seconds))


def lacks(pod: Pod, machine: Machine | None) -> str:
    """What a machine that runs lacks of the pod's order. While it boots, it may not have all yet."""
    if machine is None or machine.phase is not Phase.RUNNING:
        return ""
    return shortfall(
        Ordered(gpu_type=pod.gpu_type, gpu_count=pod.gpu_count, disk_gb=pod.disk_gb),
        Received(gpu_type=machine.gpu_type, gpu_count=machine.gpu_count, disk_gb=machine.disk_gb),
    )


def _heard_for(pod: Pod, seen: Sighting) -> timedelta | None:
    """For how long its Redis could be read without a break and lost nothing."""
    if seen.remembers is None or pod.heard_since is None:
        return None
    return min(seen.remembers, seen.at - pod.heard_since)


def believed_rate(pod: Pod, beat: Beat, *, at: datetime) -> float:
    """The items/s that an agent reports, as far as its finished items since the stored look allow it.

    A pod may be anybody's machine, and a rate decides where the next pods run and whether any start.
    """
    said = beat.said
    counted = said.done - (pod.done - pod.done_before)
    if counted < 0 or said.uptime_ms < pod.agent_uptime_ms:
        counted = said.done  # its agent began again
    seconds = max(1.0, min(RATE_WINDOW_SECONDS, said.uptime_ms / 1000))
    since = None if pod.beat_at is None else (at - beat.age - pod.beat_at).total_seconds()
    before = pod.rate * RATE_WINDOW_SECONDS if since is not None and since < seconds else 0.0
    return min(said.rate, RATE_SLACK * counted / seconds + before / seconds)


def rate_now(pod: Pod, beat: Beat | None, *, at: datetime) -> float | None:
    """The items/s that a pod finishes now; None: none, or nobody knows.

    Redis keeps the last heartbeat of a machine that is gone. Its rate is that of the past: counted as
    work of today, it makes a backlog that stands still look like one to which items are added.
    """
    if (
        beat is None
        or pod.status not in FINISHES
        or beat.age > timedelta(seconds=pod.silent_seconds)
    ):
        return None
    return believed_rate(pod, beat, at=at)
