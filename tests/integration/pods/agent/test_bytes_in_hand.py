"""However items come into an agent's hand, their bytes are bounded: read, claim, recover, retry."""

import pytest
from redis import RedisError

from pods.agent.holding import Holding
from pods.agent.progress import Progress
from pods.agent.protocol import RELEASED_CONSUMER, AgentSettings
from pods.agent.reclaim import LARGEST_CLAIM, Reclaim
from pods.agent.stream import Failure, Stream

KB, MB = 2**10, 2**20
MOST = 13 * MB  # a tenth of the agent's own limit, so that the test's server needs little memory
SIZES = pytest.mark.parametrize(("size", "count"), [(1024, 200), (MB, 30), (8 * MB, 5)])


class Intake:
    """What an agent does to take items in hand, and a handler that fails all of them."""

    def __init__(self, backlog):
        settings = AgentSettings(
            redis_url=backlog.url, fleet="test", pod="pod-a", stream="tasks", group="workers",
            handler="m:f", claim_idle_seconds=0.001,
        )  # fmt: skip
        self.now = 1000.0
        self.stream = Stream(settings)
        self.holding = Holding(64, lambda: self.now, most_bytes=MOST)
        self.holding.tune(64, 0.001)
        self.reclaim = Reclaim(settings, self.stream, self.holding, Progress(), lambda: self.now)

    def read(self, items, max_bytes):
        return self.holding.add(self.stream.read(items, max_bytes)[0])

    def claim(self, items, max_bytes):
        self.now += 10
        return self.reclaim.claim(items, max_bytes, idle=True)

    def recover(self, items, max_bytes):
        return self.reclaim.recover(items, max_bytes)

    def fill(self, take):
        """Take until there is no room, or until nothing comes. Return the entries in hand."""
        while all(self.holding.room()) and take(*self.holding.room()):
            pass
        return [e for batch in self.holding.take_batches(100, 0) for e in batch]

    def fail(self, entries):
        self.holding.worked(entries)
        self.stream.fail([Failure(e.id, "no") for e in entries])
        for e in entries:
            self.holding.retry_later(e.id, 1)


@pytest.fixture
def intake(backlog):
    return Intake(backlog)


def assert_bounded(entries, size, count):
    """They are about as many as there is room for, and pass the limit by less than one item."""
    assert len(entries) >= min(count, LARGEST_CLAIM, -(-MOST // size))
    assert sum(e.size for e in entries) < MOST + size


def held_by(backlog, consumer, size, count):
    entries = backlog.put(*[b"x" * size] * count)
    backlog.client.xreadgroup("workers", consumer, {"tasks": ">"}, count=count)
    backlog.make_old(consumer, entries)


@SIZES
def test_no_more_is_read_than_the_bytes_in_hand_allow(backlog, intake, size, count):
    backlog.put(*[b"x" * size] * count)
    assert_bounded(intake.fill(intake.read), size, count)


@SIZES
@pytest.mark.parametrize("consumer", ["dead", RELEASED_CONSUMER])
def test_no_more_is_claimed_than_the_bytes_in_hand_allow(backlog, intake, consumer, size, count):
    held_by(backlog, consumer, size, count)
    assert_bounded(intake.fill(intake.claim), size, count)


@SIZES
def test_no_more_is_recovered_than_the_bytes_in_hand_allow(backlog, intake, size, count):
    held_by(backlog, "pod-a", size, count)
    assert_bounded(intake.fill(intake.recover), size, count)


@SIZES
def test_no_more_is_tried_again_than_the_bytes_in_hand_allow(backlog, intake, size, count):
    backlog.put(*[b"x" * size] * count)
    while failed := intake.fill(intake.read):
        intake.fail(failed)
    assert len(intake.holding) == count
    intake.now += 60
    while intake.holding.retry_room()[1]:
        before = intake.holding.retry_room()
        intake.reclaim.retry(500)
        if intake.holding.retry_room() == before:
            break
    again = [e for batch in intake.holding.take_batches(100, 0) for e in batch]
    assert_bounded(again, size, count)


@pytest.mark.parametrize(("items", "max_bytes"), [(2, MOST), (100, 2 * KB)])
def test_what_others_gave_back_is_claimed_without_a_pause_while_there_is_more(
    backlog, intake, items, max_bytes
):
    held_by(backlog, RELEASED_CONSUMER, KB, 5)
    claims = [intake.reclaim.claim(items, max_bytes, idle=False) for _ in range(4)]
    assert claims == [2, 2, 1, 0]


def test_items_whose_retry_met_an_error_are_tried_again_later(backlog, intake, monkeypatch):
    entries = backlog.put(b"a", b"b")
    intake.fail(intake.fill(intake.read))

    def refused(*_):
        raise RedisError("no")

    intake.now += 60
    with monkeypatch.context() as patched:
        patched.setattr(Stream, "take_again", refused)
        with pytest.raises(RedisError):
            intake.reclaim.retry(500)
    intake.now += 60
    intake.reclaim.retry(500)
    [batch] = intake.holding.take_batches(1, 0)
    assert [e.id for e in batch] == entries
