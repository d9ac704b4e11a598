"""The two addresses of the sign-in with the identity provider: the way there, and the way back."""

from typing import Any

import requests
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from config.signin import pages
from config.signin.provider import NotAProvider, Provider


@never_cache
@require_GET
def begin(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider.

    A link leads here, not a form: our content policy lets no form end at another host.
    """
    provider = _provider(request)
    return _answered(request, lambda: provider.begin(request, _next(request)))


@never_cache
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """The browser comes back with the provider's answer."""
    adapter = _provider(request).get_oauth2_adapter(request)
    return _answered(request, lambda: OAuth2CallbackView.adapter_view(adapter)(request))


def next_page(request: HttpRequest, wanted: str) -> str:
    """Where to go after the sign-in: a page of ours."""
    ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if ours else reverse("admin:index")


def _next(request: HttpRequest) -> str:
    return next_page(request, request.GET.get("next", ""))


def _provider(request: HttpRequest) -> Provider:
    if not settings.OIDC.issuer:
        raise Http404("This installation has no identity provider.")
    return Provider(request)


def _answered(request: HttpRequest, step: Any) -> HttpResponse:
    """The answer of a step, or the page that says why there is none. allauth fails with a 500."""
    try:
        answer: HttpResponse = step()
    except requests.RequestException as exc:
        return pages.no_answer(request, exc)
    except NotAProvider as exc:
        return pages.not_a_provider(request, str(exc))
    except OAuth2Error as exc:
        return pages.bad_answer(request, exc)
    except (KeyError, TypeError, ValueError, ImproperlyConfigured) as exc:
        return pages.not_a_provider(request, f"its answer cannot be read ({type(exc).__name__})")
    except IntegrityError:  # the first sign-in of a person, twice at the same time
        return pages.not_ours(request)
    return answer
