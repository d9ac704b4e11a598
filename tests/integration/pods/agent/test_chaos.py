"""200,000 items, agents that are killed, frozen or ill, items that end their pods: one result per item."""

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter

import pytest

from pods.agent.protocol import MOST_FAILING

AGENTS = 8
BAD = {b"poison": 7, b"killer": 5}  # items that always fail, and items that end their pods
EVERY_SECONDS, FROZEN_SECONDS, CLAIM_IDLE_SECONDS = 2.0, 6.0, 3.0
MOST_SECONDS = 900.0
SEED = 20261124


def signalled(agent, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(agent.pid, number)


class Chaos:
    """Eight agents and one without its GPU, and what happened to them."""

    def __init__(self, backlog, agents):
        self.backlog, self.agents, self.random = backlog, agents, random.Random(SEED)
        self.names = (f"pod-{n}" for n in itertools.count())
        self.everyone, self.running, self.frozen = [], {}, {}
        self.befell = Counter()
        for _ in range(AGENTS):
            self.start()
        self.start_one("pod-ill", GPU="lost")  # no manager ends it, and it is never killed

    def start(self):
        name = next(self.names)
        self.running[name] = self.start_one(name)

    def start_one(self, name, **env):
        self.everyone.append(name)
        return self.agents.start(
            self.backlog, name, "agent_handlers:lives_dangerously", env,
            claim_idle_seconds=CLAIM_IDLE_SECONDS,
        )  # fmt: skip

    def replace_dead(self):
        """Start an agent for each that an item has ended."""
        for name in [n for n, agent in self.running.items() if agent.poll() is not None]:
            del self.running[name]
            self.frozen.pop(name, None)
            self.befell["ended by items"] += 1
            self.start()

    def strike(self):
        """Kill one with -9 and start another instead, or freeze one until its items are claimed."""
        self.thaw(before=time.monotonic() - FROZEN_SECONDS)
        self.replace_dead()
        name = self.random.choice(sorted(self.running.keys() - self.frozen.keys()))
        if self.random.random() < 0.5:
            self.agents.kill(self.running.pop(name))
            self.befell["killed"] += 1
            self.start()
        else:
            signalled(self.running[name], signal.SIGSTOP)
            self.frozen[name] = time.monotonic()
            self.befell["frozen"] += 1

    def thaw(self, *, before):
        for name in [n for n, since in self.frozen.items() if since < before]:
            signalled(self.running[name], signal.SIGCONT)
            del self.frozen[name]

    def counted(self, field):
        beats = (self.backlog.heartbeat(name) for name in self.everyone)
        return sum(getattr(beat, field) for beat in beats if beat is not None)


def payloads_of(count):
    """So many payloads, with the bad ones at places of their own."""
    kinds = [kind for kind, n in BAD.items() for _ in range(n)]
    places = dict(zip(random.Random(SEED).sample(range(count), len(kinds)), kinds, strict=True))
    return [places.get(n, b"item %d" % n) for n in range(count)]


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.fault(62)
@pytest.mark.parametrize("items", [20_000, 200_000])
def test_every_good_item_has_its_one_result_whoever_dies_freezes_or_fails(
    backlog, agents, until, record_property, items
):
    good, bad, payloads = [], [], payloads_of(items)
    for first in range(0, items, 5_000):
        part = payloads[first : first + 5_000]
        for entry, payload in zip(backlog.put(*part), part, strict=True):
            (bad if payload in BAD else good).append(entry)
    chaos, began, never = Chaos(backlog, agents), time.monotonic(), threading.Event()
    while backlog.client.xlen("tasks:results") < len(good) or len(backlog.dead()) < len(bad):
        assert time.monotonic() < began + MOST_SECONDS, "not drained in time"
        never.wait(EVERY_SECONDS)
        chaos.strike()
    seconds = time.monotonic() - began
    chaos.thaw(before=time.monotonic())
    until(lambda: backlog.pending() == 0)
    group = backlog.client.xinfo_groups("tasks")[0]
    assert group["entries-read"] == items
    assert {letter[b"dead_entry"].decode() for letter in backlog.dead()} == set(bad)
    assert len(backlog.dead()) == len(bad)
    assert backlog.times_published() == Counter(good)
    assert min(chaos.befell["killed"], chaos.befell["frozen"]) > 0
    assert chaos.befell["ended by items"] >= BAD[b"killer"]
    ill = backlog.heartbeat("pod-ill")
    assert ill.failing >= MOST_FAILING
    # Work that was done twice: an agent froze, another one finished it, and the late commit wrote nothing.
    figures = {**chaos.befell, "seconds": round(seconds), "failed by the ill pod": ill.failed}
    figures |= {field: chaos.counted(field) for field in ("duplicates", "claimed")}
    for name, count in figures.items():
        record_property(name, count)
