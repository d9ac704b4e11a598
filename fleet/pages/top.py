"""The bar above every page: whether everything is stopped, and whether an alert needs somebody."""

from dataclasses import dataclass
from typing import Any, Final

from fleet.models import Alert, Limits
from pods.base.clock import utcnow

LIMITS: Final = "limits_of_the_installation"  # an attribute of a request


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What the bar shows to one user."""

    limits: Limits
    alerts: int  # that nobody has answered
    may_stop: bool

    @property
    def shown(self) -> bool:
        """Whether there is anything to show."""
        return self.may_stop or self.limits.stopped or bool(self.alerts)


def bar(request: Any) -> Bar | None:
    """The bar for this request's user; None for who may not see fleets. Two queries."""
    user = request.user
    if not user.is_active or not user.has_perm("fleet.view_fleet"):
        return None
    return Bar(
        limits=getattr(request, LIMITS, None) or Limits.get(),
        alerts=loud_alerts(request),
        may_stop=user.has_perm("fleet.change_fleet"),
    )


def remember(request: Any, limits: Limits) -> None:
    """Keep the limits that the page itself has read, so that the bar reads none."""
    setattr(request, LIMITS, limits)


def loud_alerts(request: Any) -> int:
    """How many alerts nobody has answered; 0 for who may not see them. Asked once for a request."""
    if not request.user.has_perm("fleet.view_alert"):
        return 0
    if not hasattr(request, "loud_alerts"):
        request.loud_alerts = Alert.objects.loud(utcnow()).count()
    return int(request.loud_alerts)
