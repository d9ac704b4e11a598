"""The diagnosis of a pod from its facts."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.diagnosis import INFERRED, Facts, Finding, MachineSays, diagnose
from pods.states import BOOTING, DRAINING, READY, STOPPED, PodState
from tests.support.examples import examples
from tests.support.factories import hours, seconds

WELL = Facts(
    state=READY,
    in_state=hours(1),
    machine=MachineSays.RUNNING,
    boot_deadline=seconds(600),
    silent_after=seconds(60),
    hang_after=seconds(1200),
    beats_known=True,
    heard_for=hours(1),
    beat_age=seconds(2),
    agent_working=True,
)
times = st.sampled_from([0, 1, 59, 60, 61, 600, 601, 5000]).map(lambda n: timedelta(seconds=n))
facts = st.builds(
    Facts,
    state=st.sampled_from(list(PodState)),
    in_state=times,
    machine=st.sampled_from(list(MachineSays)),
    lacks=st.sampled_from(["", "0 GPUs instead of 1 GPU"]),
    absent_for=st.none() | times,
    list_lag=times,
    consistency_window=times,
    boot_deadline=times,
    silent_after=times,
    hang_after=times,
    beats_known=st.booleans(),
    heard_for=st.none() | times,
    last_seen=st.none() | times,
    beat_age=st.none() | times,
    agent_working=st.booleans(),
    agent_failed=st.booleans(),
    agent_ended=st.booleans(),
    oldest_in_hand=times,
    since_ack=st.none() | times,
    consumer_idle=st.none() | times,
    consumer_asked=st.none() | times,
    consumers_known=st.booleans(),
    all_fail=st.booleans(),
    finished=st.booleans(),
    others_succeed=st.booleans(),
)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({}, Finding.HEALTHY),
        ({"all_fail": True}, Finding.HEALTHY),  # the items may be at fault
        ({"all_fail": True, "others_succeed": True}, Finding.FAILING),
        ({"all_fail": True, "finished": False}, Finding.FAILING),
        ({"all_fail": True, "finished": False, "beat_age": seconds(61)}, Finding.SILENT),
        ({"all_fail": True, "finished": False, "heard_for": seconds(60)}, Finding.HEALTHY),
        (
            {
                **{"all_fail": True, "finished": False},
                **{"beat_age": seconds(61), "in_state": seconds(60)},  # of before it was ready
            },
            Finding.HEALTHY,
        ),
        ({"others_succeed": True, "finished": False}, Finding.HEALTHY),
        ({"state": BOOTING}, Finding.REGISTERED),
        ({"state": BOOTING, "agent_failed": True}, Finding.AGENT_FAILED),
        ({"state": BOOTING, "agent_working": False, "in_state": hours(0.1)}, Finding.HEALTHY),
        ({"state": STOPPED, "machine": MachineSays.ABSENT, "absent_for": None}, Finding.HEALTHY),
        (
            {"state": BOOTING, "agent_failed": True, "agent_working": False, "beat_age": hours(2)},
            Finding.NEVER_BOOTED,
        ),
        ({"state": BOOTING, "beat_age": None, "in_state": seconds(601)}, Finding.NEVER_BOOTED),
        ({"state": BOOTING, "beat_age": None, "in_state": seconds(600)}, Finding.HEALTHY),
        ({"state": BOOTING, "beat_age": hours(2)}, Finding.NEVER_BOOTED),
        ({"agent_failed": True}, Finding.AGENT_FAILED),
        ({"agent_ended": True}, Finding.AGENT_ENDED),
        ({"machine": MachineSays.FAILED}, Finding.MACHINE_FAILED),
        ({"machine": MachineSays.STOPPED}, Finding.STOPPED_UNASKED),
        ({"lacks": "0 GPUs instead of 1 GPU"}, Finding.NOT_AS_ORDERED),
        ({"state": BOOTING, "lacks": "0 GPUs instead of 1 GPU"}, Finding.NOT_AS_ORDERED),
        ({"lacks": "0 GPUs", "beats_known": False}, Finding.NOT_AS_ORDERED),  # the vendor says it
        ({"state": STOPPED, "machine": MachineSays.RUNNING}, Finding.STARTED_UNASKED),
        ({"machine": MachineSays.ABSENT, "absent_for": seconds(0)}, Finding.ABSENT),
        (
            {
                "machine": MachineSays.ABSENT,
                "absent_for": seconds(119),
                "consistency_window": seconds(120),
            },
            Finding.HEALTHY,
        ),
        ({"state": DRAINING, "machine": MachineSays.FAILED}, Finding.HEALTHY),  # it ends already
        (
            {
                **{"machine": MachineSays.ABSENT, "absent_for": seconds(120)},
                **{"list_lag": seconds(120), "in_state": seconds(119)},
            },
            Finding.HEALTHY,
        ),
        *(
            (
                {
                    **{"state": STOPPED, "machine": MachineSays.ABSENT},
                    **{"absent_for": seconds(age), "consistency_window": seconds(120)},
                },
                finding,
            )
            for age, finding in ((119, Finding.HEALTHY), (120, Finding.ABSENT))
        ),
        ({"machine": MachineSays.BOOTING, "lacks": "0 GPUs"}, Finding.HEALTHY),
        *(
            (
                {
                    **{"state": BOOTING, "in_state": seconds(100)},
                    **{"beat_age": beat, "consumer_asked": seconds(asked)},
                },
                finding,
            )
            for beat, asked, finding in (
                (None, 59, Finding.REGISTERED),
                (None, 60, Finding.HEALTHY),
                (hours(2), 1, Finding.HEALTHY),  # of an earlier boot
            )
        ),
        ({"beat_age": seconds(61), "consumer_asked": seconds(1)}, Finding.SILENT),
        ({"beat_age": seconds(61), "consumer_idle": seconds(60)}, Finding.HEALTHY),
        ({"beat_age": seconds(61), "consumer_idle": seconds(61)}, Finding.SILENT),
        ({"beat_age": seconds(61)}, Finding.SILENT),
        ({"beat_age": seconds(61), "heard_for": None}, Finding.HEALTHY),
        ({"beat_age": seconds(61), "heard_for": seconds(60)}, Finding.HEALTHY),
        ({"beat_age": seconds(61), "heard_for": seconds(61)}, Finding.SILENT),
        ({"beat_age": seconds(61), "last_seen": seconds(3)}, Finding.HEALTHY),
        ({"beat_age": None, "consumers_known": False}, Finding.HEALTHY),
        ({"beat_age": None, "unread_age": seconds(3)}, Finding.HEALTHY),
        ({"beat_age": None, "unread_age": seconds(61)}, Finding.SILENT),
        ({"beat_age": seconds(61), "consumers_known": False}, Finding.SILENT),
        ({"state": BOOTING, "beat_age": None, "heard_for": seconds(60)}, Finding.HEALTHY),
        ({"oldest_in_hand": hours(1), "heard_for": seconds(1200)}, Finding.HEALTHY),
        ({"beat_age": None, "consumer_idle": seconds(3)}, Finding.HEALTHY),
        ({"beat_age": None, "beats_known": False}, Finding.HEALTHY),
        ({"oldest_in_hand": seconds(1201)}, Finding.HUNG),
        ({"oldest_in_hand": seconds(1201), "since_ack": seconds(2)}, Finding.HEALTHY),
        ({"oldest_in_hand": seconds(2), "since_ack": hours(9)}, Finding.HEALTHY),
        ({"machine": MachineSays.NOT_ASKED}, Finding.HEALTHY),
    ],
)
def test_each_finding_follows_from_its_facts(change: dict, finding: Finding) -> None:
    assert diagnose(replace(WELL, **change)) is finding


@settings(max_examples=examples(500), deadline=None)
@given(seen=facts)
def test_unknown_facts_never_make_a_pod_ill(seen: Facts) -> None:
    blind = replace(seen, machine=MachineSays.NOT_ASKED, beats_known=False)
    assert diagnose(blind) is Finding.HEALTHY


@settings(max_examples=examples(500), deadline=None)
@given(seen=facts)
def test_no_pod_is_ended_without_a_sign_that_redis_could_not_have_kept(seen: Facts) -> None:
    patience = min(seen.silent_after, seen.hang_after)
    deaf = [replace(seen, heard_for=age) for age in (None, seconds(0), patience)]
    assert {diagnose(f) for f in deaf} & {*INFERRED, Finding.NEVER_BOOTED} == set()


@settings(max_examples=examples(500), deadline=None)
@given(seen=facts)
def test_a_pod_that_acknowledges_or_touches_the_stream_is_not_ended_on_inference(
    seen: Facts,
) -> None:
    lively = replace(
        seen, silent_after=seconds(60), hang_after=seconds(60), since_ack=seconds(1),
        consumer_idle=seconds(1), state=READY, beats_known=True, agent_failed=False,
        agent_ended=False, all_fail=False,
    )  # fmt: skip
    assert diagnose(lively) not in INFERRED


@settings(max_examples=examples(500), deadline=None)
@given(seen=facts)
def test_only_watched_pods_are_diagnosed(seen: Facts) -> None:
    if seen.state not in {BOOTING, READY, STOPPED}:
        assert diagnose(seen) is Finding.HEALTHY


def test_the_row_remembers_a_heartbeat_that_redis_evicted() -> None:
    """A server that is short of memory may evict the key of one pod and continue."""
    evicted = replace(WELL, beat_age=None, agent_working=False, last_seen=seconds(5))
    assert diagnose(evicted) is Finding.HEALTHY
    assert diagnose(replace(evicted, last_seen=seconds(61))) is Finding.SILENT
