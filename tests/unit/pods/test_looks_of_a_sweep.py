"""What one look of a sweep changes in the facts of a row, and how it says what is wrong."""

from datetime import timedelta
from typing import Any

import pytest

from pods import health
from pods.agent.protocol import AgentState, Heartbeat
from pods.agent_redis.heartbeats import Beat
from pods.diagnosis import Finding
from pods.models import Account, Pod
from pods.providers.base import Machine, Phase
from pods.sightings import Sighting
from pods.states import READY
from tests.support.factories import NOON, seconds

EARLIER = NOON - seconds(100)
MACHINE = Machine(external_id="m", token="t", name="n", phase=Phase.RUNNING)


def a_row(**values: Any) -> Pod:
    return Pod(pk=7, state=READY.value, state_since=EARLIER, **values)


def a_look(beat: Beat | None = None, **values: Any) -> Sighting:
    facts: dict[str, Any] = {
        **{"at": NOON, "asked": True, "machine": MACHINE, "read": True, "beat": beat},
        **{"unread_age": None, "consumer": None, "grouped": True, "remembers": seconds(9)},
    }
    return Sighting(**{**facts, **values})


def a_beat(age: float = 1, state: AgentState = AgentState.WORKING, **said: Any) -> Beat:
    return Beat(age=seconds(age), said=Heartbeat(state=state, **said))


LOADS = a_beat(state=AgentState.STARTING)


@pytest.mark.parametrize(
    ("before", "remembers", "away", "after"),
    [
        (EARLIER, seconds(9), False, EARLIER),
        (EARLIER, None, False, None),
        (EARLIER, seconds(9), True, NOON),
        (None, seconds(9), False, NOON),
    ],
)
def test_since_when_a_redis_is_heard(
    before: Any, remembers: timedelta | None, away: bool, after: Any
) -> None:
    pod = a_row(heard_since=before)
    health._hear(pod, a_look(remembers=remembers), away=away)
    assert pod.heard_since == after


@pytest.mark.parametrize(
    ("before", "asked", "machine", "after"),
    [
        (None, True, None, NOON),
        (EARLIER, True, None, EARLIER),
        (EARLIER, True, MACHINE, None),
        (EARLIER, False, None, EARLIER),
    ],
)
def test_since_when_a_machine_is_missing(
    before: Any, asked: bool, machine: Machine | None, after: Any
) -> None:
    pod = a_row(absent_since=before)
    health._see(pod, a_look(asked=asked, machine=machine))
    assert pod.absent_since == after


@pytest.mark.parametrize(
    ("stored", "age", "counted"),
    [
        (None, 5, True),
        (NOON - seconds(20), 5, True),
        (NOON - seconds(5), 5, True),
        (NOON - seconds(4), 5, True),  # the same one: two clocks set its times
        (NOON - seconds(3), 5, False),  # of old data of its Redis
        (NOON + seconds(9), 5, True),  # a clock was ahead
    ],
)
def test_an_older_heartbeat_than_the_stored_one_is_not_counted(
    stored: Any, age: float, counted: bool
) -> None:
    pod = a_row(beat_at=stored)
    health._see(pod, a_look(a_beat(age, done=3, uptime_ms=9000)))
    assert pod.done == (3 if counted else 0)
    assert pod.beat_at == (NOON - seconds(5) if counted else stored)


@pytest.mark.parametrize(("idle_ms", "idle_since"), [(0, None), (4000, NOON - seconds(5))])
def test_a_heartbeat_says_since_when_its_agent_is_idle(idle_ms: int, idle_since: Any) -> None:
    pod = a_row(note="before", idle_since=EARLIER)
    health._see(pod, a_look(a_beat(1, idle_ms=idle_ms, note="redis://u:p@h")))
    assert (pod.idle_since, pod.note) == (idle_since, "redis://***@h")
    health._see(pod, a_look(None))
    assert (pod.idle_since, pod.note) == (idle_since, "redis://***@h")


@pytest.mark.parametrize(
    ("done", "failed", "uptime_ms", "total"),
    [
        (12, 2, 6000, (12, 2)),
        (3, 0, 1000, (13, 1)),  # a new agent, by its uptime
        (3, 1, 6000, (13, 2)),  # a new agent, by what it has done
        (12, 0, 6000, (22, 1)),  # a new agent, by what it failed
        (10, 1, 5000, (10, 1)),
    ],
)
def test_what_an_agent_counted_is_added_to_what_the_agents_before_it_counted(
    done: int, failed: int, uptime_ms: int, total: tuple[int, int]
) -> None:
    pod = a_row(done=10, failed=1, agent_uptime_ms=5000)
    health._count(pod, a_beat(done=done, failed=failed, uptime_ms=uptime_ms).said)
    assert ((pod.done, pod.failed), pod.agent_uptime_ms) == (total, uptime_ms)


@pytest.mark.parametrize(
    ("finding", "look", "why"),
    [
        (Finding.AGENT_FAILED, {"beat": a_beat(note="no GPU")}, "agent failed: no GPU"),
        (Finding.AGENT_FAILED, {"machine": None}, "agent failed"),
        (Finding.FAILING, {"beat": a_beat(note="9 items failed")}, "failing: 9 items failed"),
        (Finding.FAILING, {"machine": None}, "failing"),
        (Finding.SILENT, {}, "silent: no sign of life for 60 s"),
        (Finding.ABSENT, {"machine": None}, "absent"),
        (
            Finding.MACHINE_FAILED,
            {"machine": Machine(external_id="m", token="", name="n", phase=Phase.FAILED,
                                raw_status="EXITED", because="out of memory")},
            "machine failed: out of memory",
        ),
        (
            Finding.MACHINE_FAILED,
            {"machine": Machine(external_id="m", token="", name="n", phase=Phase.FAILED,
                                raw_status="EXITED")},
            "machine failed: EXITED",
        ),
        (
            Finding.MACHINE_FAILED,
            {"machine": Machine(external_id="m", token="", name="n", phase=Phase.FAILED,
                                because="denied", login_refused=True)},
            "machine failed: the registry ghcr.io does not give ghcr.io/a/b:1 without a login, "
            "and account acme has none there: denied",
        ),
        (Finding.MACHINE_FAILED, {}, "machine failed"),
        (Finding.NEVER_BOOTED, {}, "never booted: no sign of its agent within 9 s"),
        (
            Finding.NEVER_BOOTED,
            {"beat": LOADS},
            "never booted: its agent runs, and its handler did not load within 9 s",
        ),
        (
            Finding.NEVER_BOOTED,
            {"beat": LOADS, "output": "import loads"},
            "never booted: its agent runs, and its handler did not load within 9 s; "
            "its last output: import loads",
        ),
    ],
)  # fmt: skip
def test_why_a_pod_is_ended(finding: Finding, look: dict[str, Any], why: str) -> None:
    output, beat = look.pop("output", ""), look.pop("beat", None)
    pod = a_row(silent_seconds=60, boot_seconds=9, image="ghcr.io/a/b:1")
    pod.account = Account(name="acme")
    assert health._why(finding, pod, a_look(beat, **look), output) == why


@pytest.mark.parametrize("beat", [a_beat(done=4, note="bye", uptime_ms=9), None])
def test_what_is_kept_of_a_pod_that_has_failed(beat: Beat | None) -> None:
    kept = health._at_the_end(a_row(done=1), a_look(beat))
    assert kept["failed_at"] == NOON
    assert (kept.get("done"), kept.get("last_note")) == ((4, "bye") if beat else (None, None))
