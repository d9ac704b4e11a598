"""Setting up a second factor: the QR code, the recovery codes, and the own page of a user."""

import io
from collections.abc import Sequence
from typing import Any

import segno
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from config.signin import guard, trying
from fleet import people, second_factor
from fleet.people import What
from pods.base import sealing


def key_of(request: HttpRequest, user: User) -> str:
    """The key that the form brings back, encrypted and for this user alone; else a new one.

    It is in the page and not in the session, because a page that is only read writes nothing.
    """
    try:
        whose, _, key = sealing.unseal(request.POST.get("key", "")).partition(" ")
    except sealing.WrongKey:
        whose, key = "", ""
    return key if whose == str(user.pk) and key else second_factor.new_key()


def picture(text: str) -> SafeString:
    """A QR code as SVG, black on white in both themes: cameras expect that."""
    out = io.BytesIO()
    segno.make(text, error="m").save(
        out, kind="svg", scale=5, border=4, dark="#000", light="#fff", xmldecl=False, svgns=True,
        title="QR code for your app",
    )  # fmt: skip
    # segno writes modules of a picture, and no text but our title.
    return mark_safe(out.getvalue().decode())  # noqa: S308


def set_up_page(request: HttpRequest, user: User, *, wrong: bool, template: str) -> HttpResponse:
    """The page with the QR code, which asks for a first code."""
    key = key_of(request, user)
    context = {
        **admin.site.each_context(request), "title": "Set up your second factor",
        "qr": picture(second_factor.address_for_app(key, user.get_username())),
        "key": " ".join(key[n : n + 4] for n in range(0, len(key), 4)), "wrong": wrong,
        "sealed": sealing.seal(f"{user.pk} {key}"),
    }  # fmt: skip
    return render(request, template, context, status=400 if wrong else 200)


def codes_page(request: HttpRequest, codes: Sequence[str], next_url: str) -> HttpResponse:
    """The page that shows the recovery codes, once."""
    context = {
        **admin.site.each_context(request), "title": "Keep your recovery codes", "codes": codes,
        "next": next_url,
    }  # fmt: skip
    return render(request, "signin/codes.html", context)


@sensitive_post_parameters()
@never_cache
@transaction.atomic  # the factor and its line in the audit log
def own_page(request: HttpRequest) -> HttpResponse:
    """The page on which a user sets up, renews or removes the own second factor.

    Raises:
        PermissionDenied: the identity provider knows this user, and asks for its own factors.
    """
    if request.session.get(guard.CAME_BY) == guard.OIDC:
        raise PermissionDenied("Your identity provider asks for your second factor, not Podfleet.")
    user: Any = request.user
    factor = second_factor.factor_of(user)
    if factor is None:
        return _set_up(request, user)
    if request.method == "POST":
        return _change(request, user, factor)
    return _shown(request, factor)


def _set_up(request: HttpRequest, user: User) -> HttpResponse:
    page = "signin/own_set_up.html"
    if request.method != "POST":
        return set_up_page(request, user, wrong=False, template=page)
    codes = second_factor.set_up(user, key_of(request, user), request.POST.get("code", ""))
    if codes is None:
        return set_up_page(request, user, wrong=True, template=page)
    _note(request, What.FACTOR_MADE)
    if request.session.get(guard.CAME_BY, guard.PASSWORD) == guard.PASSWORD:
        request.session[guard.CAME_BY] = guard.PASSWORD_AND_CODE
    return codes_page(request, codes, reverse("second-factor"))


def _change(request: HttpRequest, user: User, factor: Any) -> HttpResponse:
    if not trying.may_try(request, user):
        return _shown(request, factor, refused=trying.LOCKED)
    if not trying.accepted(request, user, factor, request.POST.get("code", "")):
        return _shown(request, factor, refused=trying.WRONG)
    if request.POST.get("verb") == "renew":
        _note(request, What.CODES_MADE)
        return codes_page(request, second_factor.renew_codes(factor), reverse("second-factor"))
    second_factor.remove(user)
    _note(request, What.FACTOR_REMOVED)
    if request.session.get(guard.CAME_BY) == guard.PASSWORD_AND_CODE:
        request.session[guard.CAME_BY] = guard.PASSWORD
    messages.success(request, "Your second factor is removed. Your password alone signs you in.")
    return HttpResponseRedirect(reverse("admin:index"))


def _shown(request: HttpRequest, factor: Any, refused: str = "") -> HttpResponse:
    context = {
        **admin.site.each_context(request), "title": "Your second factor", "factor": factor,
        "left": second_factor.codes_left(factor), "error": refused,
    }  # fmt: skip
    return render(request, "signin/own.html", context, status=400 if refused else 200)


def _note(request: HttpRequest, what: Any) -> None:
    came_by = request.session.get(guard.CAME_BY, guard.PASSWORD)
    people.note(what, request.user.get_username(), how=came_by, request=request)
