"""What allauth asks us: who may come in with which role, and what a failure shows."""

from typing import Any, Final, NoReturn

import requests
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from config.oidc import Refusal, role_for, verified_email
from config.signin import guard, pages
from fleet import people, second_factor
from fleet.people import NOBODY, What
from pods.base.acting import acting
from pods.base.clock import utcnow

BY: Final = "identity provider"


class NoLocalAccounts(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody signs up here, and allauth says nothing: its pages and its mails do not exist."""

    def is_open_for_signup(self, _request: HttpRequest) -> bool:
        """Only the identity provider brings new people."""
        return False

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """No greeting above the next page."""

    def send_mail(self, *args: Any, **kwargs: Any) -> None:
        """No mail."""

    def login(self, request: HttpRequest, user: Any) -> None:
        """Begin the session. It ends after some hours, so that a removed group takes effect."""
        user.backend = "django.contrib.auth.backends.ModelBackend"
        super().login(request, user)
        request.session[guard.CAME_BY] = guard.OIDC
        request.session.set_expiry(utcnow() + guard.OIDC_LASTS)  # use does not extend it
        people.note(What.SIGNED_IN, user.get_username(), how=BY, request=request)


class People(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """The rules for people whom the identity provider knows."""

    def is_open_for_signup(self, _request: HttpRequest, _sociallogin: SocialLogin) -> bool:
        """Who has a role may come in; `pre_social_login` has looked."""
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Give the role that the groups say, at every sign-in; refuse who has none.

        Raises:
            ImmediateHttpResponse: the page that says why.
        """
        expected = (sociallogin.state.get("data") or {}).get("nonce") or ""
        if not expected or not constant_time_compare(sociallogin.podfleet_nonce or "", expected):
            people.note(What.REFUSED, "unknown", how=BY, request=request, said="wrong nonce")
            _refuse(pages.not_ours(request))
        claims = sociallogin.podfleet_claims
        role = role_for(claims, settings.OIDC)
        known = sociallogin.user if sociallogin.is_existing else None
        name = known.get_username() if known else _called(claims)
        if isinstance(role, Refusal):
            if known:
                people.give_role(known, NOBODY, by=BY, how=BY)
            said = f"{role.value} of the identity provider"
            people.note(What.REFUSED, name, how=BY, request=request, said=said)
            _refuse(pages.no_role(request, role))
        if known is None:
            known = self._linked(request, sociallogin, name)
        if known is not None:
            if not known.is_active:
                people.note(What.REFUSED, name, how=BY, request=request, said="not active")
                _refuse(pages.not_active(request))
            people.give_role(known, role, by=BY, how=BY)
        sociallogin.podfleet_role = role

    def _linked(self, request: HttpRequest, sociallogin: SocialLogin, name: str) -> User | None:
        """The local user with the same address, now linked; None: nobody has it.

        Raises:
            ImmediateHttpResponse: somebody has it, and may not be taken over.
        """
        claims = sociallogin.podfleet_claims
        claimed = claims.get("email")
        same = User.objects.filter(email__iexact=claimed) if isinstance(claimed, str) else None
        users = list(same) if same is not None and claimed else []
        if not users:
            return None
        user = users[0]
        linkable = (
            settings.OIDC.link_by_email
            and verified_email(claims) == claimed
            and len(users) == 1
            and not user.is_superuser
            and user.has_usable_password()
            and not SocialAccount.objects.filter(user=user).exists()
        )
        if not linkable:
            said = "the e-mail address belongs to a user here"
            people.note(What.REFUSED, name, how=BY, request=request, said=said)
            _refuse(pages.address_taken(request))
        with acting(BY, by=BY), transaction.atomic():
            # From now on the provider alone lets this user in.
            user.set_unusable_password()
            second_factor.remove(user)
            sociallogin.user = user
            sociallogin.save(request, connect=True)
            people.note(What.LINKED, user.get_username(), how=BY, request=request)
        return user

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Make the user, without a password, and give it its role."""
        with acting(BY, by=BY), transaction.atomic():  # a user without its link could never sign in
            user: User = super().save_user(request, sociallogin, form)
            people.give_role(user, sociallogin.podfleet_role, by=BY, how=BY)
        return user

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None,
        extra_context: Any = None,
    ) -> None:  # fmt: skip
        """Show our page in place of allauth's.

        Raises:
            ImmediateHttpResponse: always.
        """
        if isinstance(exception, requests.RequestException):
            _refuse(pages.no_answer(request, exception))
        if isinstance(exception, OAuth2Error):
            people.note(What.REFUSED, "unknown", how=BY, request=request, said="answer not valid")
            _refuse(pages.bad_answer(request, exception))
        # Some providers leave the state out when they say no.
        if "error" in request.GET or "state" in (extra_context or {}):
            _refuse(pages.declined(request))
        _refuse(pages.not_ours(request))


def _called(claims: Any) -> str:
    """A name for the history of a person who is not a user here."""
    names = (claims.get(key) for key in ("preferred_username", "email", "sub"))
    return next((name for name in names if isinstance(name, str) and name), "unknown")


def _refuse(page: Any) -> NoReturn:
    raise ImmediateHttpResponse(page)
