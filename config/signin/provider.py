"""OpenID Connect, by allauth's flow, and what that leaves out: the nonce, the signature, the issuer."""

import secrets
from collections.abc import Mapping
from typing import Any, Final

import jwt
import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from config.oidc import merged, same_issuer

# Signatures by keys of which the provider publishes one half. Never HS256, whose key is our secret.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
CLOCKS_SECONDS: Final = 60  # by which the two clocks may differ
NEEDED: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri", "issuer")


class NotAProvider(Exception):
    """The provider answers, and its answer cannot be used; the message says what is wrong with it."""


class Provider(OpenIDConnectProvider):  # type: ignore[misc]
    """The identity provider that the settings name."""

    def __init__(self, request: HttpRequest) -> None:
        oidc = settings.OIDC
        app = SocialApp(
            provider=oidc.provider_id, provider_id=oidc.provider_id, name=oidc.name,
            client_id=oidc.client_id, secret=oidc.client_secret,
            settings={
                "server_url": oidc.discovery_url, "scope": list(oidc.scopes),
                "oauth_pkce_enabled": True,
            },
        )  # fmt: skip
        super().__init__(request, app=app)

    def get_oauth2_adapter(self, request: HttpRequest) -> "Adapter":
        """Our adapter."""
        return Adapter(request, self)

    def begin(self, request: HttpRequest, next_url: str) -> Any:
        """The redirect to the provider, with a nonce that its answer must repeat.

        Raises:
            requests.RequestException, NotAProvider, ValueError: as `Adapter.openid_config`.
        """
        nonce = secrets.token_urlsafe(24)
        return self.redirect(
            request, "login", next_url=next_url, data={"nonce": nonce},
            auth_params={"nonce": nonce}, scope=list(settings.OIDC.scopes),
        )  # fmt: skip

    def extract_extra_data(self, _data: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing of the claims is stored."""
        return {}

    def extract_email_addresses(self, _data: Mapping[str, Any]) -> list[Any]:
        """None: allauth's rows of addresses are for its own pages, which we do not have."""
        return []


class Adapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """The exchange with the provider."""

    def __init__(self, request: HttpRequest, provider: Provider) -> None:
        super().__init__(request, provider.sub_id)
        self._provider = provider

    def get_provider(self) -> Provider:
        """The one provider."""
        return self._provider

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        """Where the provider sends the browser back; it must know this address."""
        return request.build_absolute_uri(reverse("oidc-callback"))

    @property
    def openid_config(self) -> dict[str, Any]:
        """What the provider says of itself.

        Raises:
            requests.RequestException: it does not answer, or with an error.
            NotAProvider: the answer is not that of this issuer.
        """
        if not hasattr(self, "_openid_config"):
            found = get_json(settings.OIDC.discovery_url)
            missing = [name for name in NEEDED if not isinstance(found.get(name), str)]
            if missing:
                raise NotAProvider(f"{settings.OIDC.discovery_url} lacks {', '.join(missing)}")
            if not same_issuer(found["issuer"], settings.OIDC.issuer):
                raise NotAProvider(
                    f"the provider calls itself {found['issuer'][:200]}; PODFLEET_OIDC_ISSUER is "
                    f"{settings.OIDC.issuer}"
                )
            self._openid_config = found
        return self._openid_config

    def complete_login(
        self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any
    ) -> SocialLogin:
        """The login that the provider's answer stands for.

        Raises:
            OAuth2Error: the ID token is missing, forged, for somebody else, or of another sign-in.
        """
        claims = self._identity(str(kwargs["response"].get("id_token") or ""), app.client_id)
        self._claims = claims
        userinfo: dict[str, Any] = {}
        if endpoint := self.openid_config.get("userinfo_endpoint"):
            userinfo = get_json(endpoint, token=token.token)
            if userinfo.get("sub") != claims["sub"]:
                raise OAuth2Error("the userinfo is of another person than the ID token")
        login = self.get_provider().sociallogin_from_response(
            request, {"userinfo": merged(claims, userinfo)}
        )
        login.podfleet_claims = merged(claims, userinfo)
        login.podfleet_nonce = claims.get("nonce")
        return login

    def _identity(self, id_token: str, client_id: str) -> dict[str, Any]:
        """The claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7)."""
        try:
            kid = jwt.get_unverified_header(id_token).get("kid")
            published = jwt.PyJWKSet.from_dict(get_json(self.openid_config["jwks_uri"])).keys
            keys = [key for key in published if kid is None or key.key_id == kid]
            if len(keys) != 1:
                raise OAuth2Error("the provider does not publish the key of its ID token")
            claims: dict[str, Any] = jwt.decode(
                id_token, keys[0].key, algorithms=list(ALGORITHMS), audience=client_id,
                issuer=self.openid_config["issuer"], leeway=CLOCKS_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )  # fmt: skip
        except (jwt.PyJWTError, TypeError) as exc:  # TypeError: a key of another kind
            raise OAuth2Error(f"the ID token is not valid: {exc}") from exc
        if claims.get("azp", client_id) != client_id:
            raise OAuth2Error("the ID token was made for another client")
        return claims


def get_json(url: str, *, token: str = "") -> dict[str, Any]:
    """The JSON object at an address of the provider.

    Raises:
        requests.RequestException: no answer, or an error.
        NotAProvider: it is not a JSON object.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with get_adapter().get_requests_session() as session:
        answer = session.get(url, headers=headers)
        answer.raise_for_status()
        try:
            found = answer.json()
        except requests.exceptions.JSONDecodeError as exc:
            raise NotAProvider(f"{url} does not answer with JSON") from exc
    if not isinstance(found, dict):
        raise NotAProvider(f"{url} answers with JSON that is not an object")
    return found
