"""What operators do with dead letters: the admin and the command line call these verbs."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from redis import RedisError

from fleet import operating
from fleet.datasets.standing import rows_key
from fleet.items import failures
from fleet.items.dead_letters import DeadLetters
from fleet.items.failures import Failure, FailureGroup
from fleet.models import Fleet
from pods.base.redis import redis_client

log = structlog.get_logger(__name__)
# How many of a fleet's letters are looked at for the reasons of failures: a backlog may have millions.
LOOKED_AT: Final = 1000


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """Why the items of a fleet failed."""

    groups: Sequence[FailureGroup]
    looked_at: int  # the newest letters
    until: str  # the newest of them; "": there is none
    count: int  # of all letters

    @property
    def whole(self) -> bool:
        """Whether all letters were looked at."""
        return self.looked_at >= self.count


def of_fleet(fleet: Fleet) -> DeadLetters:
    """The dead letters of a fleet.

    Raises:
        ValidationError: its backlog has none.
    """
    if not fleet.on_stream:
        raise ValidationError(
            f"{fleet.name} drains a {fleet.get_backlog_display()}; only your Celery app keeps failed "
            "tasks"
        )
    client = redis_client(_server(fleet))
    rows = rows_key(fleet.name) if fleet.is_dataset else ""
    return DeadLetters(client, stream=fleet.stream, dead=fleet.dead_stream, rows=rows)


def _server(fleet: Fleet) -> str:
    return fleet.backlog_url or settings.REDIS_URL


def counts(fleets: Iterable[Fleet]) -> Mapping[int, int | RedisError | ValueError]:
    """How many dead letters each fleet has, or why that is not known. One question for each server."""
    servers: dict[str, list[Fleet]] = defaultdict(list)
    for fleet in fleets:
        servers[_server(fleet)].append(fleet)
    found: dict[int, int | RedisError | ValueError] = {}
    for address, its in servers.items():
        answers: Sequence[int | RedisError | ValueError]
        try:
            with redis_client(address).pipeline(transaction=False) as pipe:
                for fleet in its:
                    pipe.xlen(fleet.dead_stream)
                answers = pipe.execute(raise_on_error=False)
        except (RedisError, ValueError) as exc:  # a name that is not one of a host is a ValueError
            answers = [exc] * len(its)
        found.update(zip((fleet.pk for fleet in its), answers, strict=True))
    return found


def reasons(fleet: Fleet, *, most: int = LOOKED_AT) -> Reasons:
    """Why the fleet's newest letters failed, grouped.

    Raises:
        ValidationError: its backlog has no dead letters.
        RedisError: the server does not answer.
    """
    there = of_fleet(fleet)
    seen = there.failures(most)
    return Reasons(
        groups=failures.groups(seen),
        looked_at=len(seen),
        until=seen[0].letter if seen else "",
        count=there.count(),
    )


def alike(fleet: Fleet, key: str, *, until: str) -> Sequence[Failure]:
    """The letters of one reason up to the letter `until`, newest first, as far as `reasons` looks.

    Raises:
        ValidationError, RedisError: as `reasons`.
    """
    seen = of_fleet(fleet).failures(LOOKED_AT, until=until)
    return [failure for failure in seen if failures.key_of(failure.error) == key]


def handle_alike(
    fleet: Fleet,
    verb: LetterVerb,
    key: str,
    *,
    until: str,
    most: int | None = None,
    by: str,
    enough: Callable[[], bool] = lambda: False,
) -> Handled:
    """Put back or delete the letters that are `alike`, oldest first; `most`: no more than so many.

    Raises:
        ValidationError, RedisError: as `handle`.
    """
    if verb is LetterVerb.RETRY:
        operating.refuse_archived(fleet)
    there = of_fleet(fleet)
    chosen = [failure.letter for failure in alike(fleet, key, until=until)][::-1][:most]
    act = there.retry if verb is LetterVerb.RETRY else there.drop
    count = act(chosen, told=lambda _count: None, enough=enough)
    log.info("dead_letters_handled", fleet=fleet.name, verb=verb.value, count=count, by=by, key=key)
    return Handled(count=count, missing=(), left=there.count())


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
