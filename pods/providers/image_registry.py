"""Asks a registry whether it has an image and gives it, as an engine does before it pulls.

The protocol is that of the OCI (distribution-spec v1.1) with the tokens of Docker's registries
(distribution.github.io/distribution/spec/auth/token, read 2026-12-01).
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from pods.providers.base import RegistryLogin
from pods.providers.errors import ProviderError
from pods.providers.http import Answer, Timeouts, VendorHttp
from pods.providers.images import DOCKER_HUB, Found, image_parts, registry_of, repository_of
from pods.providers.wire import LOOPBACK

# A registry answers 404 for an image of a kind that nobody said to take.
KINDS: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
HUB_ADDRESS: Final = "https://registry-1.docker.io"
TIMEOUTS: Final = Timeouts(connect=5.0, read=10.0, total=15.0)
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One question to a registry."""

    found: Found
    says: str = ""  # why it is unknown


def look_for(image: str, login: RegistryLogin | None) -> Look:
    """Ask the image's registry for it, with the login if there is one. Takes at most 45 seconds."""
    version = image_parts(image)[1]
    where = _address(registry_of(image))
    path = f"/v2/{quote(repository_of(image))}/manifests/{quote(version, safe=':')}"
    try:
        # HEAD: Docker Hub counts a GET as a pull
        answer = _ask("HEAD", where, path)
        if answer.status == UNAUTHORIZED:
            authorization = _authorization(answer, login)
            answer = _ask("HEAD", where, path, authorization) if authorization else answer
    except (ProviderError, ValueError) as exc:
        return Look(found=Found.UNKNOWN, says=str(exc))
    if answer.ok:
        return Look(found=Found.YES)
    if answer.status == NOT_FOUND:
        return Look(found=Found.NO)
    if answer.status in {UNAUTHORIZED, FORBIDDEN}:
        return Look(found=Found.REFUSED)
    return Look(found=Found.UNKNOWN, says=f"{answer.what}: answered {answer.status}")


def _address(host: str) -> str:
    if host == DOCKER_HUB:
        return HUB_ADDRESS
    local = urlsplit(f"//{host}").hostname in LOOPBACK
    return f"http://{host}" if local else f"https://{host}"


def _authorization(refused: Answer, login: RegistryLogin | None) -> str:
    """The value of the header that the registry asks for. Empty: it gives none to us.

    Raises:
        ProviderError: the server that gives tokens gave no answer.
        ValueError: its answer makes no sense.
    """
    scheme, _, words = refused.headers.get("www-authenticate", "").partition(" ")
    asked = parse_keqv_list(parse_http_list(words))
    if scheme.lower() == "basic":
        return _basic(login)
    if scheme.lower() != "bearer" or "realm" not in asked:
        raise ValueError(f"{refused.what}: it wants a login of a kind that is not known here")
    realm = urlsplit(asked["realm"])
    if realm.scheme != "https" and realm.hostname not in LOOPBACK:
        raise ValueError(f"{refused.what}: it sends logins to {realm.hostname} without TLS")
    params: dict[str, str | int] = {
        word: asked[word] for word in ("service", "scope") if word in asked
    }
    base, path = f"{realm.scheme}://{realm.netloc}", realm.path or "/"
    given = _ask("GET", base, path, _basic(login), params)
    body: Any = given.body if isinstance(given.body, dict) else {}
    token = body.get("token") or body.get("access_token")
    return f"Bearer {token}" if given.ok and isinstance(token, str) else ""


def _basic(login: RegistryLogin | None) -> str:
    if login is None:
        return ""
    return f"Basic {base64.b64encode(f'{login.user}:{login.password}'.encode()).decode()}"


def _ask(
    method: str,
    base: str,
    path: str,
    authorization: str = "",
    params: Mapping[str, str | int] | None = None,
) -> Answer:
    http = VendorHttp(
        base_url=base,
        secret=authorization.partition(" ")[2] or None,
        auth=lambda _: {"Authorization": authorization},
        headers={"Accept": KINDS},
        timeouts=TIMEOUTS,
        plain_errors=True,
    )
    return http.call(method, path, params=params, repeatable=True)
