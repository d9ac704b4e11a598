"""Sightings of pods: values that could not be read are unknown, never absent."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pods.agent.protocol import MOST_FAILING, AgentState, Heartbeat
from pods.agent_redis.heartbeats import Beat, Consumer, Readings
from pods.diagnosis import MachineSays
from pods.models import Pod
from pods.providers.base import Capabilities, Machine, Phase
from pods.sightings import (
    SAYS,
    all_fail,
    believed_rate,
    facts_of,
    fails_all,
    is_loading,
    lacks,
    measures_of,
    rate_now,
    sighting,
)
from pods.states import READY, STOPPED, PodState
from tests.support.factories import NOON, seconds

POD = 7


def a_row(**values: Any) -> Pod:
    defaults: dict[str, Any] = {"state": READY.value, "state_since": NOON - seconds(60)}
    return Pod(pk=POD, agent={"handler_timeout_seconds": 30}, **{**defaults, **values})


def a_machine(phase: Phase) -> Machine:
    return Machine(external_id="m", token="t", name="pf-a-1-t", phase=phase)


def test_each_phase_has_a_meaning_for_the_diagnosis() -> None:
    assert SAYS.keys() == set(Phase)


@pytest.mark.parametrize(
    ("machine", "asked", "says"),
    [
        (None, True, MachineSays.ABSENT),
        (None, False, MachineSays.NOT_ASKED),
        (a_machine(Phase.RUNNING), True, MachineSays.RUNNING),
        (a_machine(Phase.GONE), True, MachineSays.ABSENT),
        (a_machine(Phase.UNKNOWN), True, MachineSays.NOT_ASKED),
    ],
)
def test_a_machine_is_absent_only_if_the_provider_answered(
    machine: Machine | None, asked: bool, says: MachineSays
) -> None:
    assert sighting(a_row(), machine, None, asked=asked, at=NOON).says is says


def test_nothing_is_known_about_the_agent_if_redis_did_not_answer() -> None:
    pod = a_row(heard_since=NOON - seconds(40), beat_at=NOON - seconds(50))
    known = facts_of(pod, sighting(pod, None, None, asked=False, at=NOON), Capabilities())
    assert not known.beats_known
    assert not known.consumers_known
    assert (known.beat_age, known.unread_age, known.heard_for) == (None, None, None)
    assert (known.in_state, known.last_seen) == (seconds(60), seconds(50))


def test_the_readings_of_other_pods_say_nothing_about_this_pod() -> None:
    beat = Beat(age=seconds(1), said=Heartbeat(state=AgentState.WORKING))
    consumer = Consumer(asked=seconds(1), idle=None, pending=2)
    others = Readings(
        beats={POD + 1: beat},
        consumers={POD + 1: consumer},
        unread={POD + 1: seconds(1)},
        grouped=frozenset({POD + 1}),
        remembers={POD + 1: seconds(9)},
    )
    pod = a_row(heard_since=NOON - seconds(40))
    seen = sighting(pod, None, others, asked=True, at=NOON)
    assert seen.read
    assert not seen.grouped
    assert (seen.beat, seen.consumer, seen.unread_age, seen.remembers) == (None, None, None, None)


@pytest.mark.parametrize(("remembers", "heard"), [(9, 9), (90, 40)])
def test_the_readings_of_a_pod_become_its_facts(remembers: int, heard: int) -> None:
    said = Heartbeat(state=AgentState.WORKING, oldest_ms=4000, since_ack_ms=-1)
    readings = Readings(
        beats={POD: Beat(age=seconds(3), said=said)},
        consumers={POD: Consumer(asked=seconds(1), idle=seconds(2), pending=0)},
        grouped=frozenset({POD}),
        remembers={POD: seconds(remembers)},
    )
    pod = a_row(heard_since=NOON - seconds(40), absent_since=NOON - seconds(5))
    known = facts_of(
        pod, sighting(pod, None, readings, asked=True, at=NOON), Capabilities(list_lag=seconds(30))
    )
    assert known.beats_known
    assert known.consumers_known
    assert known.agent_working
    assert (known.beat_age, known.heard_for) == (seconds(3), seconds(heard))
    assert (known.absent_for, known.list_lag) == (seconds(5), seconds(30))
    assert (known.oldest_in_hand, known.since_ack) == (seconds(4), None)
    assert (known.consumer_asked, known.consumer_idle) == (seconds(1), seconds(2))
    assert known.hang_after == timedelta(minutes=1)


def rated(pod: Pod, *, rate: float, done: int, uptime: float = 600, age: float = 0) -> float:
    said = Heartbeat(state=AgentState.WORKING, rate=rate, done=done, uptime_ms=int(uptime * 1000))
    return believed_rate(pod, Beat(age=seconds(age), said=said), at=NOON)


def test_a_rate_is_believed_that_its_items_since_the_last_look_allow() -> None:
    pod = a_row(beat_at=NOON - seconds(60), done=100, rate=4.0)
    assert rated(pod, rate=5.0, done=400) == 5.0
    assert rated(pod, rate=9.9, done=400) == 9.9  # all 300 in the last half minute
    assert rated(pod, rate=1e9, done=400) == 20.0
    assert rated(pod, rate=1e9, done=100) == 0.0


def test_soon_after_a_look_its_rate_counts_for_the_time_before_it() -> None:
    pod = a_row(beat_at=NOON - seconds(3), done=100, rate=4.0)
    assert rated(pod, rate=4.0, done=100) == 4.0
    assert rated(pod, rate=4.4, done=112) == 4.4
    assert rated(pod, rate=1e9, done=112) == pytest.approx(4.8)


def test_an_agent_that_began_again_is_believed_by_its_own_items() -> None:
    pod = a_row(beat_at=NOON - seconds(60), done=10_000, rate=4.0)
    assert rated(pod, rate=4.0, done=40, uptime=10) == 4.0
    assert rated(pod, rate=1e9, done=40, uptime=10) == 8.0


def test_a_first_look_believes_no_rate_without_items() -> None:
    assert rated(a_row(), rate=7.0, done=70, uptime=10) == 7.0
    assert rated(a_row(), rate=7.0, done=0, uptime=10) == 0.0
    assert rated(a_row(), rate=1e9, done=1, uptime=0) == 2.0


def test_a_pod_whose_server_did_not_answer_was_not_read() -> None:
    readings = Readings(beats={}, consumers={}, unheard=frozenset({POD}))
    assert not sighting(a_row(), None, readings, asked=True, at=NOON).read
    heard = Readings(beats={}, consumers={}, unheard=frozenset({POD + 1}))
    assert sighting(a_row(), None, heard, asked=True, at=NOON).read


@pytest.mark.parametrize(
    ("failing", "done", "all_of_them"),
    [
        (MOST_FAILING, 0, True),
        (MOST_FAILING, 1, True),
        (MOST_FAILING - 1, 1, False),
        (MOST_FAILING - 1, 0, None),
    ],
)
def test_whether_the_last_tries_of_an_agent_all_failed(
    failing: int, done: int, all_of_them: bool | None
) -> None:
    said = Heartbeat(state=AgentState.WORKING, failing=failing, done=done)
    assert fails_all(said) is all_of_them
    readings = Readings(beats={POD: Beat(age=seconds(1), said=said)}, consumers={})
    seen = sighting(a_row(), None, readings, asked=True, at=NOON)
    assert all_fail(seen) is bool(all_of_them)
    assert not all_fail(sighting(a_row(), None, None, asked=True, at=NOON))


@pytest.mark.parametrize(("row", "said", "finished"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_what_a_heartbeat_says_of_items(row: int, said: int, finished: bool) -> None:
    beats = {POD: Beat(age=seconds(1), said=Heartbeat(state=AgentState.WORKING, done=said))}
    seen = sighting(a_row(done=row), None, Readings(beats=beats, consumers={}), asked=True, at=NOON)
    facts = facts_of(a_row(done=row), seen, Capabilities())
    assert (facts.finished, facts.since_ack) == (finished, None)
    at_once = Beat(age=seconds(1), said=Heartbeat(state=AgentState.WORKING, since_ack_ms=0))
    seen = sighting(
        a_row(), None, Readings(beats={POD: at_once}, consumers={}), asked=True, at=NOON
    )
    assert facts_of(a_row(), seen, Capabilities()).since_ack == seconds(0)


@pytest.mark.parametrize(
    ("phase", "lacking"),
    [(Phase.RUNNING, "1 GPU instead of 2 GPUs"), (Phase.BOOTING, ""), (None, "")],
)
def test_only_a_machine_that_runs_can_lack_something(phase: Phase | None, lacking: str) -> None:
    machine = None if phase is None else replace(a_machine(phase), gpu_count=1)
    assert lacks(a_row(gpu_count=2), machine) == lacking


def test_what_an_agent_does_not_measure_is_left_out() -> None:
    said = Heartbeat(state=AgentState.WORKING, batch=8, gpu_percent=0)
    assert measures_of(said) == {"batch": 8, "gpu_percent": 0}


@pytest.mark.parametrize(
    ("state", "age", "silent_seconds", "loading"),
    [
        (AgentState.STARTING, 59, 100, True),
        (AgentState.STARTING, 60, 100, False),  # of an earlier boot
        (AgentState.STARTING, 10, 10, False),
        (AgentState.WORKING, 1, 100, False),
        (None, 1, 100, False),
    ],
)
def test_whether_a_handler_still_loads(
    state: AgentState | None, age: float, silent_seconds: int, *, loading: bool
) -> None:
    pod = a_row(silent_seconds=silent_seconds)
    seen = sighting(pod, None, None, asked=False, at=NOON)
    if state is not None:
        seen = replace(seen, beat=Beat(age=seconds(age), said=Heartbeat(state=state)))
    assert is_loading(pod, seen) is loading


@pytest.mark.parametrize(
    ("state", "age", "rate"),
    [(READY, 60, 1.0), (READY, 61, None), (STOPPED, 1, None), (READY, None, None)],
)
def test_only_a_new_heartbeat_of_a_pod_that_works_says_its_rate_now(
    state: PodState, age: float | None, rate: float | None
) -> None:
    pod = a_row(state=state.value, silent_seconds=60)
    said = Heartbeat(state=AgentState.WORKING, rate=1.0, done=90, uptime_ms=60_000)
    beat = None if age is None else Beat(age=seconds(age), said=said)
    assert rate_now(pod, beat, at=NOON) == rate


def test_an_agent_that_began_again_and_has_done_more_is_believed_by_its_own_items() -> None:
    pod = a_row(done=10, agent_uptime_ms=9000)
    said = Heartbeat(state=AgentState.WORKING, rate=20.0, done=12, uptime_ms=1000)
    assert believed_rate(pod, Beat(age=seconds(1), said=said), at=NOON) == 20
