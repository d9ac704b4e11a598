"""One batch at a time: what becomes of each result and of each failure."""

import logging

import pytest
import redis

from pods.agent.calling import Failed
from pods.agent.control import Control, Intent
from pods.agent.holding import Holding
from pods.agent.patience import GivenUp, Patience
from pods.agent.progress import Progress
from pods.agent.protocol import DATASET, ITEMS, MOST_FAILING, AgentSettings
from pods.agent.routing import Routes
from pods.agent.settling import Settling, own_id
from pods.agent.stream import Entry, Failure, Stream

MUCH = 10_000_000


class LosesAnswers(Stream):
    """The answers to the first commits are lost, after the server has done them."""

    lost = 0

    def commit(self, results):
        committed = super().commit(results)
        if self.lost:
            self.lost -= 1
            raise redis.ConnectionError("the answer was lost")
        return committed


class Batch:
    """Items in the hand of one agent, whose handler has worked on them."""

    def __init__(self, backlog, **changes):
        self.settings = AgentSettings(
            redis_url=backlog.url, fleet="test", pod="pod-a", stream="tasks", group="workers",
            handler="m:f", **changes,
        )  # fmt: skip
        self.backlog, self.control, self.progress = backlog, Control(), Progress()
        self.stream, self.holding = LosesAnswers(self.settings), Holding(64)
        self.holding.tune(64, 0.001)
        patience = Patience(self.progress, self.control, 4)
        self.settling = Settling(
            self.stream, self.holding, self.progress, patience, Routes(self.settings)
        )

    def of(self, *payloads, **fields):
        self.backlog.put(*payloads, **fields)
        self.holding.add(self.stream.read(64, MUCH)[0])
        [items] = self.holding.take_batches(1, 0)
        return items

    @property
    def in_hand(self):
        return [entry for entry, _ in self.holding.all()]


@pytest.fixture
def batch(backlog):
    return Batch(backlog)


@pytest.mark.parametrize(
    ("fields", "own"), [({b"id": b"\xff7"}, b"\xff7"), ({b"id": b""}, b"5-1"), ({}, b"5-1")]
)
def test_a_result_has_the_users_own_id_or_else_that_of_the_entry(fields, own):
    assert own_id(Entry("5-1", fields)) == own


def test_an_item_whose_result_may_go_nowhere_is_refused_and_the_others_are_worked_on(
    backlog, batch
):
    [plain] = batch.of(b"x")
    [named] = batch.of(b"x", reply_to=b"tasks:results:app")
    [bad] = batch.of(b"x", reply_to=b"tasks:dead")
    assert batch.settling.refuse_unroutable([plain, bad, named]) == [plain, named]
    assert batch.in_hand == [plain.id, named.id]
    [letter] = backlog.dead()
    assert letter[b"dead_error"] == b"reply_to 'tasks:dead' is not allowed"
    batch.settling.settle([plain, named], [b"1", b"2"])
    assert backlog.results() == {plain.id: b"1"}
    [(_, other)] = backlog.client.xrange("tasks:results:app")
    assert other[b"result"] == b"2"
    assert batch.in_hand == []


def test_each_outcome_of_a_batch_is_settled_for_itself(backlog, batch):
    items = batch.of(b"0", b"1", b"2", b"3")
    ids = [item.id for item in items]
    outcomes = [Failed("early"), b"good", Failed("late"), Failed("no field", final=True)]
    batch.settling.settle(items, outcomes)
    assert (items, outcomes) == ([], [])
    assert backlog.results() == {ids[1]: b"good"}
    assert [letter[b"dead_entry"].decode() for letter in backlog.dead()] == [ids[3]]
    assert batch.in_hand == [ids[0], ids[2]]
    assert [batch.holding.error_of(entry) for entry in ids[::2]] == ["early", "late"]
    # the failure before the success is not one in a row
    assert (batch.progress.failing, batch.progress.final) == (1, 1)
    counts = batch.progress.counts()
    assert (counts.done, counts.failed, counts.dead) == (1, 3, 1)


def test_a_batch_that_ends_with_a_success_leaves_no_failure_in_a_row(batch):
    items = batch.of(b"0", b"1")
    batch.settling.settle(items, [Failed("early"), b"good"])
    assert (batch.progress.in_a_row, batch.progress.note) == (0, "")


def test_results_whose_answer_was_lost_are_our_own(backlog, batch):
    items = batch.of(b"x", b"y")
    batch.stream.lost = 1
    batch.settling.settle(items, [b"1", b"2"])
    counts = batch.progress.counts()
    assert (counts.done, counts.duplicates) == (2, 0)
    assert batch.in_hand == []
    assert len(backlog.results()) == 2


def finished_by_another(backlog, items):
    for item in items:
        backlog.client.xack("tasks", "workers", item.id)


def test_a_result_that_another_agent_had_first_is_not_counted_as_done(backlog, batch, caplog):
    items = batch.of(b"x")
    finished_by_another(backlog, items)
    with caplog.at_level(logging.WARNING, "podfleet.agent"):
        batch.settling.settle(items, [b"1"])
    counts = batch.progress.counts()
    assert (counts.done, counts.duplicates, counts.gone) == (0, 1, 0)
    assert (batch.in_hand, caplog.messages) == ([], [])


def test_a_result_of_an_item_that_is_gone_is_reported(backlog, batch, caplog):
    items = batch.of(b"x")
    finished_by_another(backlog, items)
    backlog.client.xtrim("tasks", maxlen=0, approximate=False)
    with caplog.at_level(logging.WARNING, "podfleet.agent"):
        batch.settling.settle(items, [b"1"])
    assert batch.progress.counts().gone == 1
    assert caplog.messages == ["results_not_published gone=1"]


def test_an_item_whose_result_was_refused_and_may_be_tried_again_stays_in_hand(backlog, batch):
    """After many failures in a row the handler may be at fault, so no more than one is final."""
    items = batch.of(b"x", b"y", reply_to=b"tasks:results:odd")
    ids = [item.id for item in items]
    backlog.client.set("tasks:results:odd", "a string")
    batch.progress.failed_in_a_row(final=[f"{n}-9" for n in range(MOST_FAILING)])
    batch.settling.settle(items, [b"1", b"2"])
    assert [letter[b"dead_entry"].decode() for letter in backlog.dead()] == [ids[0]]
    assert batch.in_hand == [ids[1]]
    assert batch.holding.waits(ids[1])


def test_a_batch_without_failures_asks_for_no_settlement(batch):
    batch.control.ask(Intent.FENCED, "fenced")  # any call would be given up
    batch.backlog.client.set(batch.backlog.keys.fence("pod-a"), "1")
    batch.settling.fail([])
    failed = Failure("1-0", "x")
    assert batch.settling._count([failed], succeeded_at=1) == [failed]
    assert batch.progress.in_a_row == 0
    with pytest.raises(GivenUp):
        batch.settling.fail([failed])


@pytest.mark.parametrize(("kind", "rows"), [(ITEMS, None), (DATASET, b"12")])
def test_only_of_a_dataset_the_rows_of_a_dead_letter_are_counted(backlog, kind, rows):
    batch = Batch(backlog, kind=kind)
    [item] = batch.of(b"x", rows=b"12")  # also an item of the user's may have such a field
    [settled] = batch.stream.fail([Failure(item.id, "no field", final=True)])
    assert settled.became == "dead"
    assert backlog.client.hget(backlog.keys.rows, "dead") == rows
