"""Which pods the list shows: at first those of now, and what failed in the last hour."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from pods.base.clock import utcnow
from pods.models import Pod
from pods.outcomes import BAD_RULES, BAD_STATES, SILENT_RULES
from pods.rules import TAKEN_RULES
from pods.states import ENDED

LATELY: Final = timedelta(hours=1)
OVER: Final = [s.value for s in ENDED]
# The ended rows whose outcome is bad (pods/outcomes.py; a test compares all of them).
BAD: Final = Q(state__in=OVER) & (
    Q(retire_rule__in=BAD_RULES)
    | Q(retire_rule__in=TAKEN_RULES, interruptible=True)
    | Q(retire_rule__in=SILENT_RULES, state__in=BAD_STATES)
)


class LivingFilter(admin.SimpleListFilter):
    """Shows what an operator needs now; the others are history."""

    title = "which pods"
    parameter_name = "billing"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """The choices in addition to the default."""
        return [("now", "Now"), ("failed", "Failed or lost"), ("ended", "Ended"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        """All choices; the default is the pods of now and the failures of the last hour."""
        first, *others = super().choices(changelist)
        yield {**first, "display": "Now, and failures of the last hour"}
        yield from others

    def queryset(self, _request: HttpRequest, pods: QuerySet[Pod]) -> QuerySet[Pod]:
        """The pods of the choice."""
        living = ~Q(state__in=OVER)
        wanted = {"now": living, "failed": BAD, "ended": ~living, "all": Q()}
        lately = living | (BAD & Q(ended_at__gt=utcnow() - LATELY))
        return pods.filter(wanted.get(self.value() or "", lately))
