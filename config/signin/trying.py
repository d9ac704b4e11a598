"""Trying a code: how often it may be tried, and what the history says of it."""

from typing import Any, Final

import structlog
from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_lockout_response
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest, HttpResponse

from config.signin import guard
from fleet import people, second_factor
from fleet.models import SecondFactor
from fleet.people import What
from pods.base import sealing

log = structlog.get_logger(__name__)
WRONG: Final = "This code is wrong, or was used already. Wait for the next one in your app."
LOCKED: Final = "There were too many wrong codes. Wait 15 minutes, then try again."
LONGEST_CODE: Final = 40


def accepted(request: HttpRequest, user: User, factor: SecondFactor, typed: str) -> bool:
    """Whether a typed code is right: one of the app, or a recovery code. A wrong one is counted."""
    typed = typed[:LONGEST_CODE]
    try:
        if second_factor.accepts(factor, typed):
            return True
    except sealing.WrongKey:  # a field key is gone: recovery codes still work
        log.exception("second_factor_unreadable", user=user.get_username())
    if not second_factor.accepts_recovery(factor, typed):
        wrong(request, user)
        return False
    said = f"{second_factor.codes_left(factor)} left"
    people.note(What.CODE_USED, user.get_username(), how=guard.PASSWORD, request=request, said=said)
    return True


def may_try(request: HttpRequest, user: User) -> bool:
    """Whether the name is not locked out. Wrong codes and wrong passwords count together."""
    names = {"username": user.get_username()}
    return bool(AxesProxyHandler.is_allowed(request, names))


def wrong(request: HttpRequest, user: User) -> None:
    """Count a wrong code, as axes counts wrong passwords."""
    names = {"username": user.get_username()}
    user_login_failed.send(sender=__name__, credentials=names, request=request)
    note_failure(request, What.WRONG_CODE, user.get_username())


def note_failure(request: HttpRequest, what: Any, name: str) -> None:
    """Write a failure into the history; of a name that is locked out only the first one."""
    if getattr(request, "axes_locked_out", False):
        every = settings.AXES_COOLOFF_TIME
        people.note_once(What.LOCKED_OUT, name, how=guard.PASSWORD, request=request, every=every)
    else:
        people.note(what, name, how=guard.PASSWORD, request=request)


def locked(request: HttpRequest, user: User) -> HttpResponse:
    """The page that says that the name is locked out."""
    answer: HttpResponse = get_lockout_response(request, {"username": user.get_username()})
    return answer
