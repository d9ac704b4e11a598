"""200,000 items, 8 agents, one of them killed or frozen every two seconds: one result per item."""

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter

import pytest

ITEMS, AGENTS, POISON = 200_000, 8, 7
EVERY_SECONDS, FROZEN_SECONDS, CLAIM_IDLE_SECONDS = 2.0, 6.0, 3.0
MOST_SECONDS = 900.0
SEED = 20261124


def signalled(agent, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(agent.pid, number)


class Chaos:
    """Eight agents, and what happened to them."""

    def __init__(self, backlog, agents):
        self.backlog, self.agents, self.random = backlog, agents, random.Random(SEED)
        self.names = (f"pod-{n}" for n in itertools.count())
        self.everyone, self.running, self.frozen = [], {}, {}
        self.befell = Counter()
        for _ in range(AGENTS):
            self.start()

    def start(self):
        name = next(self.names)
        self.everyone.append(name)
        self.running[name] = self.agents.start(
            self.backlog,
            name,
            "agent_handlers:refuses_poison_slowly",
            claim_idle_seconds=CLAIM_IDLE_SECONDS,
        )

    def strike(self):
        """Kill one with -9 and start another instead, or freeze one until its items are claimed."""
        self.thaw(before=time.monotonic() - FROZEN_SECONDS)
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


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.fault(62)
def test_every_item_has_its_one_result_whoever_dies_or_freezes(
    backlog, agents, until, record_property
):
    places = set(random.Random(SEED).sample(range(ITEMS), POISON))
    good, bad = [], []
    for first in range(0, ITEMS, 5_000):
        payloads = [
            b"poison" if n in places else b"item %d" % n for n in range(first, first + 5_000)
        ]
        for entry, payload in zip(backlog.put(*payloads), payloads, strict=True):
            (bad if payload == b"poison" else good).append(entry)
    chaos, ended, never = Chaos(backlog, agents), time.monotonic() + MOST_SECONDS, threading.Event()
    while backlog.client.xlen("tasks:results") < len(good) or len(backlog.dead()) < POISON:
        assert time.monotonic() < ended, "not drained in time"
        never.wait(EVERY_SECONDS)
        chaos.strike()
    chaos.thaw(before=time.monotonic())
    until(lambda: backlog.pending() == 0)
    group = backlog.client.xinfo_groups("tasks")[0]
    assert group["entries-read"] == ITEMS
    assert backlog.times_published() == Counter(good)
    assert {letter[b"dead_entry"].decode() for letter in backlog.dead()} == set(bad)
    assert len(backlog.dead()) == POISON
    assert min(chaos.befell["killed"], chaos.befell["frozen"]) > 0
    # Work that was done twice: an agent froze, another one finished it, and the late commit wrote nothing.
    for name, count in chaos.befell.items():
        record_property(name, count)
    for field in ("duplicates", "claimed"):
        record_property(field, chaos.counted(field))
