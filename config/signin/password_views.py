"""Sign-in with a password, then a code of the second factor; and the link from the command line."""

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from unfold.forms import AuthenticationForm

from config.signin import guard, links, own_factor, trying
from config.signin.oidc_views import next_page
from fleet import people, second_factor
from fleet.people import What
from pods.base.clock import utcnow

BACKEND: Final = "django.contrib.auth.backends.ModelBackend"
# The key of a session that is between the password and the code.
PENDING: Final = "podfleet_pending"
PENDING_FOR: Final = timedelta(minutes=5)


class PasswordOff(AuthenticationForm):  # type: ignore[misc]
    """The form where passwords are off: it refuses all, and tries none."""

    def clean(self) -> dict[str, Any]:
        """Refuse.

        Raises:
            ValidationError: always.
        """
        raise forms.ValidationError(f"Passwords are switched off. Use {settings.OIDC.name}.")


class SignIn(LoginView):
    """The page where everybody signs in."""

    template_name = "admin/login.html"
    redirect_authenticated_user = False

    def get_form_class(self) -> Any:
        """The form of the admin."""
        return AuthenticationForm if settings.PASSWORD_SIGN_IN else PasswordOff

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Lead on who is signed in already."""
        if request.method == "GET" and admin.site.has_permission(request):
            return HttpResponseRedirect(next_page(request, request.GET.get("next", "")))
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What the page shows."""
        wanted = self.request.POST.get("next") or self.request.GET.get("next", "")
        return {
            **super().get_context_data(**kwargs),
            **admin.site.each_context(self.request),
            "title": "Sign in", "app_path": self.request.get_full_path(),
            "username": self.request.user.get_username(), "next": next_page(self.request, wanted),
            "oidc": settings.OIDC, "password_sign_in": settings.PASSWORD_SIGN_IN,
        }  # fmt: skip

    def form_valid(self, form: Any) -> HttpResponse:
        """The password is right: go on to the code, or come in."""
        user = form.get_user()
        wanted = self.request.POST.get("next") or self.request.GET.get("next", "")
        next_url = next_page(self.request, wanted)
        if second_factor.factor_of(user) is not None:
            return _then(self.request, user, next_url, "sign-in-code")
        if settings.REQUIRE_TOTP and user.is_staff:
            return _then(self.request, user, next_url, "sign-in-set-up")
        return come_in(self.request, user, guard.PASSWORD, next_url)

    def form_invalid(self, form: Any) -> HttpResponse:
        """The password is wrong, or the name is locked out."""
        if settings.PASSWORD_SIGN_IN:
            trying.note_failure(self.request, What.WRONG_PASSWORD, form.data.get("username", ""))
        return super().form_invalid(form)


def come_in(request: HttpRequest, user: User, came_by: str, next_url: str) -> HttpResponse:
    """Begin the session of a user who has proved everything."""
    request.session.pop(PENDING, None)
    login(request, user, backend=BACKEND)
    request.session[guard.CAME_BY] = came_by
    people.note(What.SIGNED_IN, user.get_username(), how=came_by, request=request)
    return HttpResponseRedirect(next_url)


@sensitive_post_parameters()
@csrf_protect
@never_cache
def code(request: HttpRequest) -> HttpResponse:
    """The page that asks for the code of the app, or for a recovery code."""
    user, next_url = _pending(request)
    factor = None if user is None else second_factor.factor_of(user)
    if user is None or factor is None:
        return _again(request)
    if request.method != "POST":
        return _page(request, "signin/code.html", "Enter your code")
    if not trying.may_try(request, user):
        return trying.locked(request, user)
    if not trying.accepted(request, user, factor, request.POST.get("code", "")):
        said = trying.WRONG
        return _page(request, "signin/code.html", "Enter your code", status=400, error=said)
    return come_in(request, user, guard.PASSWORD_AND_CODE, next_url)


@sensitive_post_parameters()
@csrf_protect
@never_cache
@transaction.atomic  # the factor and its line in the audit log
def set_up(request: HttpRequest) -> HttpResponse:
    """The page on which a user who must have a second factor sets it up, before coming in."""
    user, next_url = _pending(request)
    if user is None or second_factor.factor_of(user) is not None:
        return _again(request)
    if request.method == "POST":
        if not trying.may_try(request, user):
            return trying.locked(request, user)
        codes = second_factor.set_up(
            user, own_factor.key_of(request, user), request.POST.get("code", "")
        )
        if codes is not None:
            name = user.get_username()
            people.note(What.FACTOR_MADE, name, how=guard.PASSWORD, request=request)
            come_in(request, user, guard.PASSWORD_AND_CODE, next_url)
            return own_factor.codes_page(request, codes, next_url)
        trying.wrong(request, user)
    wrong = request.method == "POST"
    return own_factor.set_up_page(request, user, wrong=wrong, template="signin/set_up.html")


@csrf_protect
@never_cache
def by_link(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind a link of `podfleet user link`. It works once, because a sign-in changes it."""
    user = links.user_of(token)
    if user is None:
        said = "It was used already, or is older than 10 minutes. Make a new one."
        return _page(
            request, "signin/link.html", "This link is out of date", status=403, error=said
        )
    if request.method != "POST":
        return _page(request, "signin/link.html", "Sign in", called=user.get_username())
    return come_in(request, user, guard.LINK, reverse("admin:index"))


def _then(request: HttpRequest, user: User, next_url: str, page: str) -> HttpResponse:
    """Remember whose password was right, in a new session that is nobody's."""
    if request.user.is_authenticated:
        logout(request)
    request.session.cycle_key()
    request.session[PENDING] = {
        "user": user.pk, "password": user.get_session_auth_hash(), "next": next_url,
        "until": (utcnow() + PENDING_FOR).timestamp(),
    }  # fmt: skip
    return HttpResponseRedirect(reverse(page))


def _pending(request: HttpRequest) -> tuple[User | None, str]:
    """The user whose password this session has proved, at most five minutes ago; and where to go."""
    kept = request.session.get(PENDING)
    if not kept or kept["until"] < utcnow().timestamp() or not settings.PASSWORD_SIGN_IN:
        return None, ""
    user = User.objects.filter(pk=kept["user"], is_active=True).first()
    if user is None or not constant_time_compare(kept["password"], user.get_session_auth_hash()):
        return None, ""
    return user, kept["next"]


def _again(_request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:login"))


def _page(
    request: HttpRequest, template: str, title: str, *, status: int = 200, **more: Any
) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, **more}
    return render(request, template, context, status=status)
