"""One step at a time: what an agent takes besides new items, and what it leaves to other agents."""

import pytest

from pods.agent.copying import Copying
from pods.agent.holding import Holding
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings
from pods.agent.reclaim import OFFER_PAUSE_SECONDS, Reclaim
from pods.agent.stream import Failure, Fenced, ItemResult, Stream

MUCH = 10_000_000


class Hand:
    """What one agent has, with a clock that a test moves."""

    def __init__(self, backlog, pod="pod-a", **changes):
        self.backlog, self.now = backlog, 1000.0
        self.settings = AgentSettings(
            redis_url=backlog.url, fleet="test", pod=pod, stream="tasks", group="workers",
            handler="m:f", **changes,
        )  # fmt: skip
        self.stream, self.progress = Stream(self.settings), Progress(self.clock)
        self.begin_anew()

    def begin_anew(self):
        """As after a restart."""
        self.holding = Holding(8, self.clock)
        self.holding.tune(8, 0.001)
        self.reclaim = Reclaim(self.settings, self.stream, self.holding, self.progress, self.clock)
        self.copying = Copying(self.settings, self.stream, self.holding, self.clock)

    def clock(self):
        return self.now

    def read(self, count=8):
        self.holding.add(self.stream.read(count, MUCH)[0])
        return [entry for entry, _ in self.holding.all()]

    def fail(self, entry, error="boom"):
        """The handler fails the item, which waits for its next try here."""
        taken = [e for batch in self.holding.take_batches(9, 0) for e in batch]
        self.holding.worked(taken)
        [settled] = self.stream.fail([Failure(entry, error)])
        assert settled.became == "retry"
        self.holding.retry_later(entry, settled.deliveries, error)

    def fence(self):
        """From now on each script that the agent calls raises an error."""
        self.backlog.client.set(self.backlog.keys.fence(self.settings.pod), "1")

    @property
    def in_hand(self):
        return [entry for entry, _ in self.holding.all()]


@pytest.fixture
def hand(backlog):
    return Hand(backlog)


def seen(backlog, pod="pod-b"):
    """Another agent asks for items."""
    backlog.client.xreadgroup("workers", pod, {"tasks": ">"}, count=1)


# After a restart.


def test_what_the_former_agent_had_is_taken_page_by_page_and_once(backlog, hand):
    entries = backlog.put_numbered(3)
    hand.read()
    hand.begin_anew()
    assert hand.reclaim.recover(2, MUCH) == 2
    assert hand.in_hand == entries[:2]
    assert hand.reclaim.recover(2, MUCH) == 1
    assert hand.reclaim.recover(2, MUCH) is None
    assert hand.in_hand == entries
    hand.fence()
    assert hand.reclaim.recover(2, MUCH) is None  # it does not ask any more


def test_an_item_that_used_up_its_deliveries_is_given_up_with_the_reason(backlog, hand):
    [dead, good] = backlog.put_numbered(2)
    hand.read()
    backlog.client.xclaim("tasks", "workers", "pod-a", 0, [dead], retrycount=9, justid=True)
    hand.begin_anew()
    assert hand.reclaim.recover(9, MUCH) == 1
    [letter] = backlog.dead()
    assert letter[b"dead_error"] == b"given up: begun 9 times, and no agent reported back"
    assert (hand.in_hand, hand.progress.final, hand.progress.counts().dead) == ([good], 1, 1)


def test_an_item_on_which_this_agent_works_is_not_given_up(backlog, hand):
    """It was frozen, so the item looks like that of a dead agent."""
    [entry] = backlog.put(b"x")
    hand.read()
    hand.holding.take_batches(1, 0)
    backlog.client.xclaim("tasks", "workers", "pod-a", 0, [entry], retrycount=9, justid=True)
    assert hand.reclaim.recover(9, MUCH) == 0
    assert (backlog.dead(), hand.in_hand) == ([], [entry])


# Items of others.


def released(backlog, *payloads):
    other = Hand(backlog, "pod-b")
    entries = backlog.put(*payloads)
    other.read()
    other.stream.release([(entry, False) for entry in entries])
    return entries


@pytest.mark.parametrize(
    ("idle", "claim_idle", "pause"), [(True, 60, 1.0), (False, 60, 5.0), (False, 8, 2.0)]
)
def test_a_claim_comes_after_a_pause_that_is_short_for_an_idle_agent(
    backlog, idle, claim_idle, pause
):
    hand = Hand(backlog, claim_idle_seconds=claim_idle)
    assert hand.reclaim.claim(9, MUCH, idle=idle) == 0
    entries = released(backlog, b"x")
    hand.now += pause - 0.01
    assert hand.reclaim.claim(9, MUCH, idle=idle) == 0
    hand.now += 0.01
    assert hand.reclaim.claim(9, MUCH, idle=idle) == 1
    assert (hand.in_hand, hand.progress.counts().claimed) == (entries, 1)


def test_a_claim_that_brought_all_that_it_asked_for_goes_on_at_once(backlog, hand):
    entries = released(backlog, b"x", b"y")
    assert [hand.reclaim.claim(1, MUCH, idle=True) for _ in range(3)] == [1, 1, 0]
    assert hand.in_hand == entries


def test_a_claim_that_brought_less_does_not_go_on_at_once(backlog, hand):
    released(backlog, b"x")
    assert hand.reclaim.claim(9, MUCH, idle=True) == 1
    released(backlog, b"y")
    assert hand.reclaim.claim(9, MUCH, idle=True) == 0


def long_list_of_another(backlog, old):
    """A pending list that is longer than one step of a claim, and what of it is free."""
    backlog.put_numbered(1500)
    Hand(backlog, "pod-b").stream.read(512, MUCH)
    backlog.client.xreadgroup("workers", "pod-b", {"tasks": ">"}, count=1500)
    entries = [p["message_id"].decode() for p in backlog.client.xpending_range(
        "tasks", "workers", "-", "+", 1500)]  # fmt: skip
    free = [entries[n] for n in old]
    backlog.make_old("pod-b", free)
    return free


def test_a_walk_that_found_something_goes_on_at_once_to_the_end_of_a_long_list(backlog, hand):
    free = long_list_of_another(backlog, [3, 1200])
    assert [hand.reclaim.claim(9, MUCH, idle=True) for _ in range(2)] == [1, 1]
    assert hand.in_hand == free


def test_a_walk_that_found_nothing_yet_goes_on_after_a_pause(backlog, hand):
    free = long_list_of_another(backlog, [1200])
    assert [hand.reclaim.claim(9, MUCH, idle=True) for _ in range(2)] == [0, 0]
    hand.now += 1
    assert hand.reclaim.claim(9, MUCH, idle=True) == 1
    assert hand.in_hand == free


def test_items_in_hand_are_kept_and_those_that_another_has_claimed_are_dropped(backlog, hand):
    hand.reclaim.keep()
    mine, lost = backlog.put_numbered(2)
    hand.read()
    backlog.client.xclaim("tasks", "workers", "pod-b", 0, [lost])
    backlog.make_old("pod-a", [mine])
    hand.reclaim.keep()
    assert hand.in_hand == [mine]
    [pending] = [p for p in hand.stream.pending(9) if p.entry == mine]
    assert pending.idle_seconds < 3600


# Failed tries.


def test_a_failed_item_is_taken_again_after_its_pause(backlog, hand):
    [entry] = backlog.put(b"x")
    hand.read()
    hand.fail(entry)
    assert hand.reclaim.retry(9) == 0
    assert hand.holding.waits(entry)
    hand.now += 60
    assert hand.reclaim.retry(9) == 1
    [[again]] = hand.holding.take_batches(1, 0)
    assert (again.id, again.fields, again.deliveries) == (entry, {b"payload": b"x"}, 2)


def test_a_failed_item_that_another_pod_may_have_is_not_taken_again_here(backlog, hand):
    [entry] = backlog.put(b"x")
    hand.read()
    hand.fail(entry)
    seen(backlog)
    hand.now += 60
    assert hand.reclaim.retry(9) == 0
    assert hand.in_hand == []
    [pending] = hand.stream.pending(9)
    assert pending.idle_seconds >= hand.settings.claim_idle_seconds  # others claim it


def test_a_retry_that_the_server_does_not_take_comes_later(backlog, hand):
    [entry] = backlog.put(b"x")
    hand.read()
    hand.fail(entry)
    hand.now += 60
    hand.fence()
    with pytest.raises(Fenced):
        hand.reclaim.retry(9)
    backlog.client.delete(backlog.keys.fence("pod-a"))
    assert hand.holding.error_of(entry) == "boom"
    hand.now += 60
    assert hand.reclaim.retry(9) == 1


def test_what_waits_here_is_offered_to_another_pod_now_and_then(backlog, hand):
    [entry] = backlog.put(b"x")
    hand.read()
    hand.fail(entry)
    hand.reclaim.offer()
    assert hand.in_hand == [entry]  # nobody else could take it
    seen(backlog)
    hand.reclaim.offer()
    assert hand.in_hand == [entry]
    hand.now += OFFER_PAUSE_SECONDS
    hand.reclaim.offer()
    assert hand.in_hand == []


def test_the_server_is_asked_nothing_where_nothing_waits(hand):
    hand.fence()
    hand.reclaim.offer()
    assert hand.reclaim.retry(9) == 0
    hand.reclaim.keep()


# Copies.


def measured(hand):
    for _ in range(3):
        hand.copying.worked(0.1)


def look(hand, holder, entry, after):
    """Look once more after some time, in which the holder has shown that it works on the item."""
    hand.now += after
    holder.stream.keep([entry])
    return hand.copying.copy()


def test_nothing_is_copied_before_some_batches_were_measured(backlog, hand):
    [entry] = backlog.put(b"x")
    slow = Hand(backlog, "slow")
    slow.read()
    assert [look(hand, slow, entry, 10) for _ in range(3)] == [0, 0, 0]
    measured(hand)
    assert [look(hand, slow, entry, 10) for _ in range(2)] == [0, 1]


def test_the_items_of_others_are_looked_at_once_in_a_second(backlog, hand):
    slow = Hand(backlog, "slow")
    measured(hand)
    assert hand.copying.copy() == 0
    [entry] = backlog.put(b"x")
    slow.read()
    assert look(hand, slow, entry, 0.5) == 0  # too early: it does not see the item
    assert look(hand, slow, entry, 0.5) == 0
    assert look(hand, slow, entry, 2.9) == 0
    assert look(hand, slow, entry, 1.0) == 1


def test_what_is_pending_under_the_own_name_keeps_nothing_from_being_copied(backlog, hand):
    own, entry = backlog.put(b"x", b"y")
    hand.stream.read(1, MUCH)
    backlog.make_old("pod-a", [own])
    slow = Hand(backlog, "slow")
    slow.read()
    measured(hand)
    assert [look(hand, slow, entry, 10) for _ in range(2)] == [0, 1]
    assert hand.in_hand == [entry]


def test_suspects_are_marked_once_and_again_where_the_server_did_not_answer(backlog, hand):
    hand.copying.mark_suspects()
    assert backlog.client.keys("podfleet:test:offered:*") == []
    hand.copying.suspect(["1-0"])
    backlog.client.set(backlog.keys.offered("1-0"), "older", px=10)
    hand.copying.mark_suspects()
    assert backlog.client.get(backlog.keys.offered("1-0")) == b"pod-a"
    backlog.client.delete(backlog.keys.offered("1-0"))
    hand.copying.mark_suspects()
    assert not backlog.client.exists(backlog.keys.offered("1-0"))


# Each call of the server.


def test_only_calls_that_bring_work_or_make_room_for_it_hold_the_handler_up(backlog):
    called = []

    class Trip:
        def __enter__(self):
            called.append("trip")

        def __exit__(self, *_):
            pass

    settings = Hand(backlog).settings
    stream = Stream(settings, Trip)
    [entry] = backlog.put(b"x")
    stream.read(1, MUCH)
    assert called == ["trip"]
    stream.keep([entry])
    stream.release([(entry, False)])
    assert called == ["trip"]
    stream.commit([ItemResult(entry, b"1", "tasks:results", b"r")])
    assert called == ["trip"] * 2


def test_the_try_of_a_new_item_is_counted_by_its_read_alone(backlog, hand):
    backlog.put(b"x")
    [item] = hand.stream.read(1, MUCH)[0]
    assert hand.stream.begin([item]) == []
    assert [p.deliveries for p in hand.stream.pending(9)] == [1]


def test_a_failure_that_no_other_try_can_help_is_a_dead_letter_at_once(backlog, hand):
    bad, other = backlog.put_numbered(2)
    hand.read()
    settled = hand.stream.fail([Failure(bad, "no field", final=True), Failure(other, "boom")])
    assert [s.became for s in settled] == ["dead", "retry"]
