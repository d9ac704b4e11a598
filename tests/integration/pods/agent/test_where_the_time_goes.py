"""A real agent says where its handler's time goes: at work, at a far server, at an empty stream."""

import pytest

from benchmarks.agent import link
from pods.agent.protocol import SHARES

RTT_MS = 300


def said(backlog, name):
    return getattr(backlog.heartbeat("pod-a"), name, None) or 0


def shares_of(beat):
    return {name: getattr(beat, name) for name in SHARES}


@pytest.mark.takes(4)
def test_an_agent_says_whether_it_waits_for_items_or_works(backlog, agents, until):
    agents.start(backlog, "pod-a", "agent_handlers:says_its_pod", env={"SECONDS_AN_ITEM": "0.02"})
    until(lambda: said(backlog, "starved") > 0.5)
    assert backlog.heartbeat("pod-a").busy == 0
    backlog.put(*[b"x" * 1000] * 250)
    until(lambda: backlog.heartbeat("pod-a").busy > 0.4)
    beat = backlog.heartbeat("pod-a")
    assert beat.link < beat.busy
    assert sum(shares_of(beat).values()) == pytest.approx(1.0, abs=0.002)
    assert beat.batch > 1
    assert beat.held_bytes > 1000


@pytest.mark.takes(6)
def test_an_agent_far_from_its_server_says_that_it_waits_for_the_link(
    backlog, backlog_on, agents, until
):
    backlog.put_numbered(2000)

    def waits_for_the_link():
        beat = backlog.heartbeat("pod-a")
        return beat and beat.rtt_ms and beat.link > 2 * max(beat.busy, beat.starved) and beat

    with link(backlog.url, RTT_MS) as far:
        agents.start(backlog_on(far, group=False), "pod-a", "agent_handlers:upper")
        beat = until(waits_for_the_link)
    assert RTT_MS <= beat.rtt_ms < 10 * RTT_MS
