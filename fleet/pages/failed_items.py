"""The failed items of all fleets, grouped by their error; a server that is away hides no other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from django.core.exceptions import ValidationError
from redis import RedisError, ResponseError

from fleet import letters
from fleet.items.failures import FailureGroup
from fleet.letters import Reasons
from fleet.models import ON_STREAM, Fleet
from pods.masking import without_passwords

LOOKED_AT: Final = 200  # of each fleet; its own page looks at more
GROUPS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFailures:
    """What is known of the failed items of one fleet."""

    fleet: Fleet
    count: int | None  # None: not known
    reasons: Reasons | None = None  # None: nobody looked
    problem: str = ""

    @property
    def shown(self) -> Sequence[FailureGroup]:
        """The reasons that the page of all fleets shows."""
        return self.reasons.groups[:GROUPS] if self.reasons else ()

    @property
    def more(self) -> int:
        """How many reasons only the fleet's own page shows."""
        return len(self.reasons.groups) - len(self.shown) if self.reasons else 0


def of_all_fleets(*, enough: Callable[[], bool]) -> Sequence[FleetFailures]:
    """The fleets with failed items, or of which that is not known: the most failed items first.

    Each server is asked once for the numbers. The reasons are read until `enough()` is true; the
    other fleets are shown without them.
    """
    fleets = list(Fleet.objects.filter(archived_at=None, backlog__in=ON_STREAM).order_by("name"))
    counts = letters.counts(fleets)
    found = [_of(fleet, counts[fleet.pk]) for fleet in fleets]
    found = [each for each in found if each.count != 0]
    found.sort(key=lambda each: -(each.count or 0))
    return [_with_reasons(each) if each.count and not enough() else each for each in found]


def _of(fleet: Fleet, count: int | RedisError | ValueError) -> FleetFailures:
    if isinstance(count, int):
        return FleetFailures(fleet=fleet, count=count)
    return FleetFailures(fleet=fleet, count=None, problem=unanswered(count))


def _with_reasons(seen: FleetFailures) -> FleetFailures:
    try:
        reasons = letters.reasons(seen.fleet, most=LOOKED_AT)
    except (RedisError, ValueError, ValidationError) as exc:
        return FleetFailures(fleet=seen.fleet, count=seen.count, problem=unanswered(exc))
    return FleetFailures(fleet=seen.fleet, count=reasons.count, reasons=reasons)


def unanswered(error: Exception) -> str:
    """Why the failed items of a fleet are not known, in a sentence."""
    if isinstance(error, ValidationError):
        return "; ".join(error.messages)
    said = without_passwords(str(error))
    if isinstance(error, ResponseError):
        return f"Redis refuses: {said}"
    if isinstance(error, RedisError):
        return f"Redis does not answer: {said}"
    return f"The address of Redis cannot be used: {said}"
