"""A real OpenID provider as a process on loopback, and a browser that signs in with it."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from django.test import Client

from config.oidc import Oidc
from tests.support.waiting import until

GROUPS = {
    "owner": (), "admin": ("fleet-admins",), "operator": ("fleet-operators",),
    "viewer": ("fleet-viewers", "everybody"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityProvider:
    """The address of the process."""

    url: str

    def settings(self, **more: Any) -> Oidc:
        """The settings of an installation that trusts it."""
        known = {
            "issuer": self.url, "client_id": "podfleet", "client_secret": "s3cret-of-the-client",
            "name": "Example ID", "groups": GROUPS,
        }  # fmt: skip
        return Oidc(**{**known, **more})

    def knows(self, sub: str, **claims: Any) -> None:
        """Let it know a person."""
        answer = httpx.put(f"{self.url}/users/{sub}", json=claims)
        answer.raise_for_status()

    def client(self, callback: str) -> Mapping[str, str]:
        """Register a client with a secret that it checks; its id and the secret."""
        body = {"redirect_uris": [callback], "token_endpoint_auth_method": "client_secret_post"}
        answer = httpx.post(f"{self.url}/oauth2/clients", json=body)
        answer.raise_for_status()
        found: Mapping[str, str] = answer.json()
        return found


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """Run the provider."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    program = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: _answers(url))
            yield IdentityProvider(url=url)
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/jwks").status_code == 200
    except httpx.TransportError:
        return False


def answer_of(begun: Any, sub: str, **form: str) -> str:
    """The path with which the provider sends the browser back, after the person chose an account."""
    assert begun.status_code == 302, begun.content.decode()
    answer = httpx.post(begun["Location"], data={"sub": sub, **form})
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["Location"])
    return f"{back.path}?{back.query}"


def sign_in(client: Client, sub: str, *, path: str = "/admin/login/oidc/") -> Any:
    """Sign in as a browser does; the last answer."""
    return client.get(answer_of(client.get(path), sub))


def asked(begun: Any) -> Mapping[str, str]:
    """What the browser is sent to the provider with."""
    return {name: values[0] for name, values in parse_qs(urlsplit(begun["Location"]).query).items()}
