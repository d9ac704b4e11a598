"""The pages that say why a sign-in with the identity provider failed, and what to do."""

import requests
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from config.oidc import Refusal
from pods.masking import without_passwords

log = structlog.get_logger(__name__)


def _page(
    request: HttpRequest, status: int, title: str, help_text: str, because: str = ""
) -> HttpResponse:
    context = {
        "title": title, "because": because, "help_text": help_text,
        "provider": settings.OIDC.name, "password": settings.PASSWORD_SIGN_IN,
    }  # fmt: skip
    return render(request, "signin/failed.html", context, status=status)


def _otherwise() -> str:
    if settings.PASSWORD_SIGN_IN:
        return "Users with a password can still sign in with it."
    return (
        "An administrator of this machine can make a sign-in link: `podfleet user link NAME` "
        "(in a checkout `manage.py user link NAME`)."
    )


def no_answer(request: HttpRequest, error: requests.RequestException) -> HttpResponse:
    """The provider does not answer (503), or answers with an error (502)."""
    status = None if error.response is None else error.response.status_code
    said = "No connection to it could be made."
    if status is not None:
        said = f"It answered with the status {status}."
    elif isinstance(error, requests.Timeout):
        said = "It took longer than 5 seconds."
    log.warning("oidc_no_answer", error=without_passwords(str(error))[:300])
    return _page(
        request, 503 if status is None else 502, f"{settings.OIDC.name} cannot be used now",
        f"Try again in a minute. {_otherwise()} For administrators: PODFLEET_OIDC_ISSUER is "
        f"{settings.OIDC.issuer}, and this server must reach it.", said,
    )  # fmt: skip


def not_a_provider(request: HttpRequest, said: str) -> HttpResponse:
    """The provider's answers cannot be used: the settings or the provider are wrong."""
    log.error("oidc_not_usable", error=said[:300])
    return _page(
        request, 502, f"{settings.OIDC.name} cannot be used",
        f"An administrator must correct PODFLEET_OIDC_ISSUER or the provider. {_otherwise()}",
        f"{said[:1].upper()}{said[1:]}.",
    )  # fmt: skip


def bad_answer(request: HttpRequest, error: Exception) -> HttpResponse:
    """The provider refused our client, or its ID token is not valid."""
    log.error("oidc_bad_answer", error=_kind(error))
    return _page(
        request, 502, f"{settings.OIDC.name} did not confirm who you are",
        "Try again. If it fails again, an administrator must compare PODFLEET_OIDC_CLIENT_ID and "
        "PODFLEET_OIDC_CLIENT_SECRET with the provider, and look at the clocks of both hosts. "
        f"{_otherwise()}",
        _kind(error),
    )  # fmt: skip


def _kind(error: Exception) -> str:
    """What failed. The provider's own words are left out: they may repeat a code or a secret."""
    said = str(error)
    if said.startswith("Error retrieving access token"):
        return "The provider refused the client or the code."
    return f"{said[:1].upper()}{said[1:200]}."


def declined(request: HttpRequest) -> HttpResponse:
    """The person or the provider said no."""
    return _page(
        request, 403, "You are not signed in",
        f"{settings.OIDC.name} ended the sign-in: you cancelled it, or it does not let you in here.",
    )  # fmt: skip


def not_ours(request: HttpRequest) -> HttpResponse:
    """The answer belongs to no sign-in that this browser began."""
    return _page(
        request, 403, "This sign-in is out of date",
        "Begin again. It took longer than 10 minutes, was used already, or began in another browser. "
        "The browser must accept cookies.",
    )  # fmt: skip


def no_role(request: HttpRequest, why: Refusal) -> HttpResponse:
    """The provider knows the person, and no group of the person has a role here."""
    oidc = settings.OIDC
    groups = ", ".join(f"{group} ({role})" for role, gs in oidc.groups.items() for group in gs)
    if why is Refusal.DOMAIN:
        because = "Only verified e-mail addresses of these domains have access: " + ", ".join(
            oidc.email_domains
        )
    elif why is Refusal.NO_GROUPS:
        because = f"{oidc.name} sent no claim {oidc.groups_claim}, so your groups are not known."
    else:
        because = f"None of your groups has access. These have: {groups}."
    help_text = {
        Refusal.DOMAIN: "Sign in there with another account.",
        Refusal.NO_GROUPS: "An administrator must let the provider send this claim, or correct "
        "PODFLEET_OIDC_GROUPS_CLAIM and PODFLEET_OIDC_SCOPES.",
        Refusal.NO_ROLE: f"Ask whoever runs {oidc.name} to add you to one, then sign in again.",
    }[why]
    return _page(request, 403, "You have no access here", help_text, because)


def not_active(request: HttpRequest) -> HttpResponse:
    """An owner has switched the user off."""
    text = "An owner has deactivated your user. Ask one to activate it under Users."
    return _page(request, 403, "Your user is not active", text)


def address_taken(request: HttpRequest) -> HttpResponse:
    """A local user has the same e-mail address."""
    return _page(
        request, 403, "A user here has your e-mail address",
        "It is not linked to you, so that nobody takes it over. An owner can delete that user or "
        "change its address under Users, or set PODFLEET_OIDC_LINK_BY_EMAIL=1, if the provider "
        "verifies addresses. Owners with a password are never linked.",
    )  # fmt: skip
