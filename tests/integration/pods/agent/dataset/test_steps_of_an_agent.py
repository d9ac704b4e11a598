"""How a dataset's agent takes and begins ranges, step by step, without a handler's process."""

from typing import Any

import pytest

from pods.agent.control import Intent
from pods.agent.dataset import agent as agents
from pods.agent.dataset.columns import DEFAULT_ROWS
from pods.agent.dataset.work import Work
from pods.agent.protocol import MOST_FAILING
from tests.support.rigs.agent_in_steps import AgentInSteps, Handler


@pytest.mark.parametrize(
    ("handler", "most"),
    [
        (Handler(8, calls=4), 32),
        (Handler(0, calls=4), 256),
        (Handler(1000, calls=4), 256),
        (Handler(0, takes_columns=True), DEFAULT_ROWS),
        (Handler(100, takes_columns=True), 100),
    ],
)
def test_a_batch_has_as_many_rows_as_the_handler_says_within_the_fleets_size(rig_of, handler, most):
    rig = rig_of(batch_size=64)
    rig.agent._handler = handler
    assert rig.agent._load() == most
    assert rig.agent._feeding.sizing.most == most


# Taking ranges in hand.


def test_one_range_is_begun_at_a_time_and_the_next_one_while_there_is_room(rig):
    first, second = rig.feed(2)
    rig.agent._take_step()
    assert rig.begun() == [first]
    rig.agent._take_step()
    assert rig.begun() == [first]  # nobody knows yet how long its rows take
    rig.hand.works()[0].closing = True
    rig.agent._take_step()
    assert rig.begun() == [first, second]
    assert rig.pending() == 2


def test_a_range_that_was_put_back_is_begun_before_another_one_is_taken(rig):
    rig.agent._take(1)  # the former agent left nothing
    [back] = rig.feed()
    [entry] = rig.stream.read(1, 10_000)[0]
    rig.holding.add([entry])
    rig.feed()
    rig.agent._take_step()
    assert rig.begun() == [back]
    assert rig.pending() == 1


def test_an_agent_waits_for_the_stream_where_it_has_no_range(rig):
    waited: list[str] = []
    rig.stream.wait = waited.append
    [entry] = rig.feed()
    rig.agent._take_step()
    assert (waited, rig.control.asked) == ([], [])
    rig.hand.drop(rig.hand.works()[0])
    rig.agent._take_step()
    assert (waited, rig.control.asked) == ([entry], [])


def test_an_agent_of_which_everything_fails_takes_a_range_now_and_then(rig):
    offered: list[bool] = []
    rig.agent._reclaim.offer = lambda: offered.append(True)
    rig.feed(2)
    rig.agent._take_step()
    assert offered == []
    rig.hand.works()[0].closing = True
    names = [str(n) for n in range(MOST_FAILING)]
    rig.agent._progress.failed_in_a_row(tries=names, error="x")
    rig.agent._trickle.took(1)
    rig.agent._take_step()
    assert rig.pending() == 1
    assert offered == [True]
    assert rig.control.asked == [agents.STEP_SECONDS]


def test_a_range_of_the_former_agent_comes_before_a_new_one(rig):
    [former] = rig.feed()
    rig.stream.read(1, 10_000)
    rig.feed()
    assert rig.agent._take(1) == ""
    assert (len(rig.holding), rig.pending()) == (1, 1)
    assert former in rig.holding


def test_a_range_of_a_dead_pod_comes_before_a_new_one(rig):
    [old] = rig.feed()
    rig.join("dead")
    rig.backlog.make_old("dead", [old])
    rig.feed()
    rig.agent._take(1)
    assert (len(rig.holding), rig.pending()) == (1, 1)
    assert old in rig.holding


# Sharing a long rest.


def a_long_work(rig: AgentInSteps) -> Work:
    return rig.work(rig.range(1000), row_seconds=1.0)


def test_a_long_rest_is_shared_while_another_pod_is_idle(rig):
    rig.join("a", "b")
    work = a_long_work(rig)
    rig.agent._take_step()  # its hand is full
    assert work.shared
    assert rig.control.asked == [agents.SHORT_STEP_SECONDS]


def test_a_rest_is_not_shared_with_nobody_and_nobody_is_asked_for_again_at_once(rig):
    rig.join("a")
    work = a_long_work(rig)
    rig.agent._share()
    rig.join("b")
    rig.agent._share()
    assert not work.shared
    rig.agent._next_share = 0.0
    rig.agent._share()
    assert work.shared


def test_without_a_long_rest_nothing_is_shared(rig):
    rig.join("a", "b")
    rig.agent._share()
    short = rig.work(row_seconds=0.01)
    rig.agent._share()
    assert not short.shared


# Beginning a range.


def test_a_range_is_begun_and_read(rig):
    entry = rig.take()
    rig.agent._begin(entry)
    [work] = rig.hand.works()
    assert (work.alone, work.divided, work.last, work.given_up) == (False, False, False, "")
    assert rig.agent._to_read.get_nowait() is work


def test_an_entry_that_is_no_range_is_a_dead_letter(rig):
    entry = rig.take(range="nonsense")
    rig.agent._begin(entry)
    assert rig.begun() == []
    assert b"this entry is not a range" in rig.backlog.dead()[0][b"dead_error"]


def test_a_range_that_another_pod_has_by_now_is_not_begun(rig):
    entry = rig.take(deliveries=2)
    rig.backlog.client.xclaim("tasks", "workers", "b", 0, [entry.id])
    rig.agent._begin(entry)
    assert (rig.begun(), len(rig.holding)) == ([], 0)


@pytest.mark.parametrize("why", ["a suspect", "a piece"])
def test_a_range_that_may_have_ended_its_pods_waits_until_nothing_else_is_in_hand(rig, why):
    other = rig.work()
    entry = rig.take(**({"deliveries": 3} if why == "a suspect" else {"divided": 1}))
    rig.control.meanwhile = lambda: rig.hand.drop(other)
    rig.agent._begin(entry)
    assert rig.begun() == [entry.id]
    assert rig.control.asked == [agents.SHORT_STEP_SECONDS]
    assert rig.hand.works()[0].alone


def test_a_range_that_waits_to_be_alone_is_put_back_at_the_end(rig):
    rig.work()
    entry = rig.take(deliveries=3)
    rig.control.ask(Intent.DRAIN, "end")
    rig.agent._begin(entry)
    assert rig.begun() == ["0-1"]
    assert rig.holding.take_batches(1, 0) == [[entry]]


@pytest.mark.parametrize(("deliveries", "others"), [(1, True), (3, False)])
def test_a_range_that_need_not_wait_is_begun_also_at_the_end(rig, deliveries, others):
    if others:
        rig.work()
    entry = rig.take(deliveries=deliveries)
    rig.control.ask(Intent.DRAIN, "end")
    rig.agent._begin(entry)
    assert entry.id in rig.begun()


@pytest.mark.parametrize(
    ("max_deliveries", "fields", "deliveries", "is_last"),
    [
        (5, {}, 4, False),
        (5, {}, 5, True),
        (5, {"divided": 1}, 2, False),
        (5, {"divided": 1}, 3, True),
        (2, {"divided": 1}, 2, True),
    ],
)
def test_a_row_that_fails_in_the_last_try_of_its_range_is_an_error_row(
    rig_of, max_deliveries, fields, deliveries, is_last
):
    rig = rig_of(max_deliveries=max_deliveries)
    rig.agent._begin(rig.take(deliveries, **fields))
    [work] = rig.hand.works()
    assert work.last is is_last


@pytest.mark.parametrize(
    ("max_deliveries", "fields", "deliveries", "is_divided"),
    [
        (5, {}, 5, False),
        (5, {}, 6, True),
        (1, {}, 3, False),
        (1, {}, 4, True),
        (5, {"divided": 1}, 3, False),
        (5, {"divided": 1}, 4, True),
    ],
)
def test_a_range_that_used_up_its_tries_is_divided(
    rig_of, max_deliveries, fields, deliveries, is_divided
):
    rig = rig_of(max_deliveries=max_deliveries)
    rig.agent._begin(rig.take(deliveries, **fields))
    assert len(rig.hand.works()) == (0 if is_divided else 1)
    assert len(rig.stream.read(5, 10_000)[0]) == (3 if is_divided else 0)


def test_one_row_that_used_up_its_tries_is_read_as_an_error_row(rig):
    one = rig.range(1)
    entry: Any = one.entry(divided=True)
    rig.backlog.client.xadd("tasks", entry)
    [taken] = rig.stream.read(1, 10_000)[0]
    rig.holding.add([taken._replace(deliveries=4, counted=False)])
    [[taken]] = rig.holding.take_batches(1, 0)
    rig.agent._begin(taken)
    [work] = rig.hand.works()
    rig.agent._read_range(work)
    assert list(rig.agent._shelf.take(0).what.bad.values()) == [work.given_up]
