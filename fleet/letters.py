"""What operators do with dead letters: the admin and the command line call these verbs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError

from fleet import operating
from fleet.items.dead_letters import DeadLetters
from fleet.models import Backlog, Fleet
from pods.base.redis import redis_client

log = structlog.get_logger(__name__)


class LetterVerb(StrEnum):
    """What operators do with dead letters."""

    RETRY = "retry"  # put them back onto the stream
    DROP = "drop"  # delete them


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What became of dead letters."""

    count: int  # put back, or deleted
    missing: Sequence[str]  # named, and not among the dead letters
    left: int


def of_fleet(fleet: Fleet) -> DeadLetters:
    """The dead letters of a fleet.

    Raises:
        ValidationError: its backlog has none.
    """
    if fleet.backlog != Backlog.REDIS_STREAM:
        raise ValidationError(
            f"{fleet.name} drains a {fleet.get_backlog_display()}; only your Celery app keeps failed "
            "tasks"
        )
    client = redis_client(fleet.backlog_url or settings.REDIS_URL)
    return DeadLetters(client, stream=fleet.stream, dead=fleet.dead_stream)


def handle(
    fleet: Fleet,
    verb: LetterVerb,
    letters: Sequence[str] | None,
    *,
    by: str,
    told: Callable[[int], None] = lambda _count: None,
    enough: Callable[[], bool] = lambda: False,
) -> Handled:
    """Put dead letters (None: all that exist now) back onto the stream, or delete them.

    `told` hears the number so far after each step; the call ends early when `enough()` is true.

    Raises:
        ValidationError: the fleet has no dead letters, or is archived and would not work on them.
        RedisError: the server does not answer; what was done stays done.
    """
    if verb is LetterVerb.RETRY:
        operating.refuse_archived(fleet)
    there = of_fleet(fleet)
    act = there.retry if verb is LetterVerb.RETRY else there.drop
    if letters is None:
        count, missing = act(None, told=told, enough=enough), []
    else:
        named = list(dict.fromkeys(letters))
        missing = [letter for letter in named if not act([letter], told=lambda _count: None)]
        count = len(named) - len(missing)
        told(count)
    log.info("dead_letters_handled", fleet=fleet.name, verb=verb.value, count=count, by=by)
    return Handled(count=count, missing=missing, left=there.count())
