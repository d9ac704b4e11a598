"""A provider that is down, slow, wrong, or that lies."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import User
from django.test import Client

from config.doctor import probing
from config.oidc import Oidc
from tests.support.identity_provider import asked

pytestmark = pytest.mark.django_db
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CALLBACK = "/admin/login/oidc/callback/"


class Faulty:
    """A provider whose every answer a test can change."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], tuple[int, Any]]] = {}
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = faulty.answers[self.path]()
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        self.config = {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token", "jwks_uri": f"{self.url}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }  # fmt: skip
        self.says("/.well-known/openid-configuration", self.config)
        self.says("/jwks", {"keys": [{**public, "kid": "k", "alg": "RS256"}]})

    def says(self, path: str, body: Any, status: int = 200) -> None:
        self.answers[path] = lambda: (status, body)

    def gives(
        self, nonce: str | None, *, key: Any = KEY, algorithm: str = "RS256", **claims: Any
    ) -> None:
        now = int(time.time())
        told = {
            "iss": self.url, "aud": "podfleet", "sub": "ann", "iat": now, "exp": now + 60,
            "nonce": nonce, "groups": ["g"],
        }  # fmt: skip
        kept = {name: value for name, value in {**told, **claims}.items() if value is not None}
        token = jwt.encode(kept, key, algorithm=algorithm, headers={"kid": "k"})
        self.says("/token", {"access_token": "a", "token_type": "Bearer", "id_token": token})


@pytest.fixture
def faulty(settings: Any) -> Iterator[Faulty]:
    found = Faulty()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    settings.OIDC = _trusting(found.url)
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def _trusting(url: str) -> Oidc:
    return Oidc(
        issuer=url, client_id="podfleet", client_secret="s3cret", name="Example ID",
        groups={"viewer": ("g",)},
    )  # fmt: skip


def come_back(client: Client, faulty: Faulty, **given: Any) -> Any:
    sent = asked(client.get("/admin/login/oidc/"))
    faulty.gives(**{"nonce": sent["nonce"], **given})
    return client.get(f"{CALLBACK}?code=c&state={sent['state']}")


def test_a_good_answer_lets_in_also_without_userinfo(client: Client, faulty: Faulty) -> None:
    assert come_back(client, faulty).status_code == 302
    assert User.objects.get().is_staff


NOW = int(time.time())


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": OTHER}, {"iss": "https://other.example"}, {"aud": "another-client"},
        {"exp": NOW - 3600}, {"azp": "another-client"}, {"sub": None}, {"exp": None},
        {"key": "s3cret-s3cret-s3cret-s3cret-s3cret", "algorithm": "HS256"},
        {"key": None, "algorithm": "none"},
    ],
    ids=["signature", "issuer", "audience", "expired", "party", "nobody", "endless", "hmac", "none"],
)  # fmt: skip
def test_a_wrong_id_token_lets_nobody_in(
    client: Client, faulty: Faulty, wrong: Mapping[str, Any]
) -> None:
    answer = come_back(client, faulty, **wrong)
    assert answer.status_code == 502
    assert "did not confirm who you are" in answer.content.decode()
    assert not User.objects.exists()


def test_an_answer_without_a_nonce_lets_nobody_in(client: Client, faulty: Faulty) -> None:
    assert come_back(client, faulty, nonce=None).status_code == 403
    assert not User.objects.exists()


def test_userinfo_of_another_person_is_refused(client: Client, faulty: Faulty) -> None:
    faulty.says("/userinfo", {"sub": "owner", "groups": ["g"]})
    faulty.config["userinfo_endpoint"] = f"{faulty.url}/userinfo"
    assert come_back(client, faulty).status_code == 502
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("path", "body", "status", "wanted"),
    [
        ("/.well-known/openid-configuration", {}, 500, 502),
        ("/.well-known/openid-configuration", {"issuer": "x"}, 200, 502),
        ("/.well-known/openid-configuration", b"<html>", 200, 502),
        ("/.well-known/openid-configuration", [1], 200, 502),
    ],
)
def test_a_provider_that_answers_nonsense_is_a_page(
    client: Client, faulty: Faulty, path: str, body: Any, status: int, wanted: int
) -> None:
    faulty.says(path, body, status)
    answer = client.get("/admin/login/oidc/")
    assert answer.status_code == wanted
    assert "PODFLEET_OIDC_ISSUER" in answer.content.decode()


def test_the_doctor_says_why_the_provider_cannot_be_used(faulty: Faulty, settings: Any) -> None:
    assert probing.identity_provider() == ""
    for body, status, said in (
        ({}, 500, "the status 500"), (b"<html>", 200, "JSON"), ({}, 200, "names no issuer"),
        ([], 200, "names no issuer"), ({"issuer": "https://x"}, 200, "calls itself https://x"),
    ):  # fmt: skip
        faulty.says("/.well-known/openid-configuration", body, status)
        assert said in probing.identity_provider()
    settings.OIDC = _trusting("http://127.0.0.1:9")
    assert "gives no answer" in probing.identity_provider()
    settings.OIDC = Oidc()
    assert probing.identity_provider() == ""


def test_a_provider_that_calls_itself_otherwise_is_not_used(client: Client, faulty: Faulty) -> None:
    faulty.config["issuer"] = "https://other.example"
    page = client.get("/admin/login/oidc/").content.decode()
    assert "calls itself https://other.example" in page


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/jwks"])
@pytest.mark.parametrize(("status", "body"), [(500, {}), (200, b"<html>"), (200, [])])
def test_a_provider_that_fails_after_the_person_signed_in_is_a_page(
    client: Client, faulty: Faulty, path: str, status: int, body: Any
) -> None:
    sent = asked(client.get("/admin/login/oidc/"))
    faulty.gives(sent["nonce"])
    faulty.says(path, body, status)
    assert client.get(f"{CALLBACK}?code=c&state={sent['state']}").status_code in {502, 503}
    assert not User.objects.exists()


def test_a_provider_that_is_down_is_a_page_that_says_what_to_do(
    client: Client, settings: Any
) -> None:
    settings.OIDC = _trusting("http://127.0.0.1:9")
    answer = client.get("/admin/login/oidc/")
    assert answer.status_code == 503
    assert "Users with a password can still sign in" in answer.content.decode()
    settings.PASSWORD_SIGN_IN = False
    assert "user link NAME" in client.get("/admin/login/oidc/").content.decode()


def test_a_slow_provider_is_given_up(client: Client, faulty: Faulty, settings: Any) -> None:
    settings.SOCIALACCOUNT_REQUESTS_TIMEOUT = 0.2
    hold = threading.Event()
    faulty.answers["/.well-known/openid-configuration"] = lambda: (hold.wait(5), (200, {}))[1]
    answer = client.get("/admin/login/oidc/")
    hold.set()
    assert answer.status_code == 503
    assert "took longer than" in answer.content.decode()
