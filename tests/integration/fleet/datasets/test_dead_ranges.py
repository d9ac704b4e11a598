"""A dead range that goes back or is deleted is counted so, and a deleted one can be fed again."""

import redis

from fleet import letters
from fleet.letters import LetterVerb
from fleet.models import Fleet
from tests.support.datasets import (
    a_source,
    added,
    bury,
    on_the_stream,
    ranges_of,
    take,
    the_stream,
)


def test_a_range_that_goes_back_is_not_dead_any_more(fleet: Fleet, client: redis.Redis) -> None:
    added(client, ranges_of(a_source()))
    for entry in take(client, 3):
        bury(client, entry)
    assert the_stream(client).look().counts.dead == 300
    assert letters.handle(fleet, LetterVerb.RETRY, None, by="ann").count == 3
    seen = the_stream(client).look()
    assert (seen.counts.planned, seen.counts.dead, seen.left) == (1000, 0, 10)
    assert len(on_the_stream(client)) == 13


def test_a_range_that_was_deleted_is_not_planned_any_more(
    fleet: Fleet, client: redis.Redis
) -> None:
    added(client, ranges_of(a_source()))
    (entry,) = take(client, 1)
    bury(client, entry)
    assert letters.handle(fleet, LetterVerb.DROP, None, by="ann").count == 1
    seen = the_stream(client).look()
    assert (seen.counts.planned, seen.counts.dead, seen.counts.left) == (900, 0, 900)
    assert a_source().key not in {n for n in seen.by_file() if (0, 100) in seen.by_file()[n]}
