"""Where the handler's time went: each moment is of one kind, and half a minute is kept."""

import threading
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.env import ROOT
from pods.agent.handler_process import HandlerProcess
from pods.agent.measures import Measures
from pods.agent.outbox import MOST_WAITING, Outbox
from pods.agent.protocol import LARGEST_COUNT, MEASURES, SHARES, AgentState, Heartbeat
from pods.agent.shares import SLOT_SECONDS, SLOTS, Doing, Hold, Peak, Shares
from pods.agent.stream import Entry
from tests.support.examples import examples
from tests.support.rigs.agent_rig import HANDLERS
from tests.support.waiting import patience, until

PATIENCE_SECONDS = 20.0
STARTING, BUSY, WAITING = Doing


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shares(clock):
    return Shares(clock)


def spent(shares):
    return {name: share for name, share in shares.now().items() if share}


def test_nothing_is_known_before_any_time_has_passed(shares):
    assert shares.now() == {}


def test_the_time_is_shared_out_between_loading_work_and_waits(shares, clock):
    clock.now += 1
    shares.does(WAITING)
    clock.now += 2
    with shares.round_trip():
        clock.now += 3
    shares.does(BUSY)
    clock.now += 4
    assert spent(shares) == {"starting": 0.1, "starved": 0.2, "link": 0.3, "busy": 0.4}
    shares.does(STARTING)
    with shares.round_trip():
        clock.now += 10
    assert spent(shares) == {"starting": 0.55, "starved": 0.1, "link": 0.15, "busy": 0.2}


def test_a_handler_that_works_does_not_wait_for_the_round_trips_beside_it(shares, clock):
    shares.does(BUSY)
    with shares.round_trip(), shares.stuck():
        clock.now += 5
    assert spent(shares) == {"busy": 1.0}


def test_round_trips_to_an_empty_stream_are_not_what_the_handler_waits_for(shares, clock):
    shares.does(WAITING)
    shares.read(all_asked=False)
    with shares.round_trip():
        clock.now += 3
        shares.read(all_asked=True)  # an item has come
        clock.now += 1
    assert spent(shares) == {"starved": 0.75, "link": 0.25}


def test_a_server_that_refuses_or_is_away_is_the_link_whatever_the_stream_had(shares, clock):
    shares.does(WAITING)
    shares.read(all_asked=False)
    with shares.stuck():
        clock.now += 3
    assert spent(shares) == {"link": 1.0}


def test_a_handler_whose_outcomes_wait_for_commits_waits_for_the_link(shares, clock):
    shares.does(BUSY)
    clock.now += 1
    with shares.held_up():
        clock.now += 3
    shares.does(BUSY)
    clock.now += 1
    assert spent(shares) == {"busy": 0.4, "link": 0.6}


def test_only_the_last_half_minute_counts(shares, clock):
    shares.does(BUSY)
    clock.now += 1000
    shares.does(WAITING)
    clock.now += SLOT_SECONDS * SLOTS
    assert spent(shares) == {"starved": 1.0}


def test_a_long_batch_counts_while_it_is_under_way(shares, clock):
    shares.does(WAITING)
    clock.now += 15
    shares.does(BUSY)
    clock.now += 15
    assert spent(shares)["busy"] >= 0.5
    clock.now += 15
    assert spent(shares) == {"busy": 1.0}


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([*Doing, "round_trip", "stuck", "held_up", "end", "full", "short"]),
        st.sampled_from([0.0, 0.001, 0.5, 2.999, 3.0, 31.0]),
    ),
    max_size=60,
)


@settings(max_examples=examples(), deadline=None)
@given(EVENTS)
def test_the_shares_always_add_up_to_the_whole_and_take_the_same_memory(events):
    clock = Clock()
    shares = Shares(clock)
    with ExitStack() as open_calls:
        for what, seconds in events:
            if isinstance(what, Doing):
                shares.does(what)
            elif what == "end":
                open_calls.pop_all().close()
            elif what in {"full", "short"}:
                shares.read(all_asked=what == "full")
            else:
                open_calls.enter_context(getattr(shares, what)())
            clock.now += seconds
        said = shares.now()
    assert len(shares._slots) <= SLOTS
    if sum(seconds for _, seconds in events) > 0:
        assert sum(said.values()) == pytest.approx(1.0, abs=0.002)
        raw = Heartbeat(state=AgentState.WORKING, **said).fields() | {"at_ms": "0"}
        beat = Heartbeat.parse({k.encode(): v.encode() for k, v in raw.items()})
        assert {name: getattr(beat, name) for name in SHARES} == said


def test_the_most_bytes_in_hand_are_forgotten_after_a_minute(clock):
    peak = Peak(clock)
    assert peak.value() == 0
    for held, seconds, most in [
        (7, 0, 7),
        (3, 29, 7),
        (2, 1, 7),
        (4, 29, 7),
        (1, 1, 4),
        (0, 60, 0),
    ]:
        clock.now += seconds
        peak.saw(held)
        assert peak.value() == most


def test_an_outbox_that_is_full_says_that_the_handler_is_held_up(shares, clock):
    outbox = Outbox(shares.held_up)
    shares.does(BUSY)
    outbox.put([Entry(f"{n}-0", {}) for n in range(MOST_WAITING)], [b"r"] * MOST_WAITING)
    clock.now += 1
    assert spent(shares) == {"busy": 1.0}
    one_more = [Entry("9999-0", {})], [b"r"]
    waiting = threading.Thread(target=outbox.put, args=one_more, daemon=True)
    waiting.start()
    until(lambda: shares._holds[Hold.HELD_UP], seconds=4)
    clock.now += 1
    with outbox.taking():
        waiting.join(patience(PATIENCE_SECONDS))
    clock.now += 2
    assert spent(shares) == {"busy": 0.75, "link": 0.25}


@pytest.mark.takes(2)
def test_a_handler_that_crashes_is_starting_until_its_process_has_loaded_again(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{HANDLERS}")
    did, restarted, heard = [], [], threading.Semaphore(0)
    process = HandlerProcess(
        "agent_handlers:crashes_on_poison",
        timeout_seconds=60,
        on_worked=lambda *_: None,
        on_crashed=lambda *_: None,
        on_broken=lambda _: None,
        does=lambda doing: (did.append(doing), heard.release()),
        on_restarted=lambda: (restarted.append(True), heard.release()),
    )

    def wait_for(events):
        for _ in range(events):
            assert heard.acquire(timeout=patience(PATIENCE_SECONDS))

    try:
        process.load()
        process.submit([[Entry("1-0", {b"payload": b"good"})]])
        wait_for(3)
        process.submit([[Entry("2-0", {b"payload": b"poison"})]])
        wait_for(4)
    finally:
        process.close(kindly=False)
    assert did == [WAITING, BUSY, WAITING, BUSY, STARTING, WAITING]
    assert restarted == [True]


@pytest.mark.parametrize("value", [-5, 0.5, 10**20, None])
def test_whatever_is_measured_is_sent_within_the_bounds_that_the_manager_accepts(value):
    measures = Measures(lambda: dict.fromkeys(set(MEASURES) - set(SHARES), value))
    raw = Heartbeat(state=AgentState.WORKING, **measures.now()).fields() | {"at_ms": "0"}
    beat = Heartbeat.parse({k.encode(): v.encode() for k, v in raw.items()})
    expected = {-5: 0, 0.5: 0, 10**20: LARGEST_COUNT, None: None}
    assert beat.held_bytes == expected[value]
