"""Ends sessions that the present rules of sign-in would not begin."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

# The key of a session that says how its user came in. A session of an older version has none: there
# was only the password.
CAME_BY: Final = "podfleet_came_by"
PASSWORD: Final = "password"  # noqa: S105 - a name
PASSWORD_AND_CODE: Final = "password and code"  # noqa: S105 - a name
OIDC: Final = "identity provider"
LINK: Final = "sign-in link"
# How long a session of the identity provider lasts: its groups count again at the next sign-in.
OIDC_LASTS: Final = timedelta(hours=12)


def allowed(came_by: str) -> bool:
    """Whether a session that began in this way may go on."""
    if not settings.PASSWORD_SIGN_IN and came_by in {PASSWORD, PASSWORD_AND_CODE}:
        return False
    if came_by == OIDC:
        return bool(settings.OIDC.issuer)
    return not (settings.REQUIRE_TOTP and came_by == PASSWORD)


def present_rules(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: who came in by what is not allowed any more must sign in again.

    It asks the session alone, which a page of a user reads anyway.
    """

    def answer(request: HttpRequest) -> HttpResponse:
        inside = request.path.startswith("/admin/") and request.user.is_authenticated
        if inside and not allowed(request.session.get(CAME_BY, PASSWORD)):
            logout(request)
            return HttpResponseRedirect(reverse("admin:login"))
        return get_response(request)

    return answer
