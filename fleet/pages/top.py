"""The bar above every page: whether everything is stopped, and whether an alert needs somebody."""

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Exists

from fleet.models import Alert, Fleet, Limits
from pods.base.clock import utcnow

LIMITS: Final = "limits_of_the_installation"  # an attribute of a request


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What the bar shows to one user."""

    limits: Limits
    alerts: int  # that nobody has answered
    may_stop: bool  # there is something that could be stopped, and the user may do it

    @property
    def shown(self) -> bool:
        """Whether there is anything to show."""
        return self.may_stop or self.limits.stopped or bool(self.alerts)


def bar(request: Any) -> Bar | None:
    """The bar for this request's user; None for who may not see fleets. Two queries."""
    user = request.user
    if not user.is_active or not user.has_perm("fleet.view_fleet"):
        return None
    limits = getattr(request, LIMITS, None) or _limits()
    return Bar(
        limits=limits,
        alerts=loud_alerts(request),
        may_stop=user.has_perm("fleet.change_fleet") and (limits.stopped or limits.any_fleet),
    )


def _limits() -> Any:
    """The limits, with the fact whether there is a fleet. One query, where the row is there."""
    rows = Limits.objects.annotate(any_fleet=Exists(Fleet.objects.all()))
    found: Any = rows.filter(pk=1).first()
    if found is None:
        found = Limits(pk=1)
        found.any_fleet = Fleet.objects.exists()
    return found


def remember(request: Any, limits: Any, *, fleets: bool = True) -> None:
    """Keep what the page itself has read, so that the bar reads nothing."""
    limits.any_fleet = fleets
    setattr(request, LIMITS, limits)


def loud_alerts(request: Any) -> int:
    """How many alerts nobody has answered; 0 for who may not see them. Asked once for a request."""
    if not request.user.has_perm("fleet.view_alert"):
        return 0
    if not hasattr(request, "loud_alerts"):
        request.loud_alerts = Alert.objects.loud(utcnow()).count()
    return int(request.loud_alerts)
