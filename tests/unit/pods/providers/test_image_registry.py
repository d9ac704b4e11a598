"""What a registry says of an image: asked over HTTP, as an engine asks before it pulls."""

import base64
from collections.abc import Iterator

import httpx
import pytest
import stamina

from pods.providers.base import RegistryLogin
from pods.providers.errors import Unavailable
from pods.providers.http import Answer
from pods.providers.image_registry import _address, _authorization, look_for
from pods.providers.images import Found, repository_of
from tests.support.from_memory import answer_from_memory
from tests.support.image_registry import PASSWORD, USER, ImageRegistry, image_registry


@pytest.fixture
def registry() -> Iterator[ImageRegistry]:
    with image_registry() as made:
        yield made


def login(registry: ImageRegistry, password: str = PASSWORD) -> RegistryLogin:
    return RegistryLogin(host=registry.host, user=USER, password=password)


@pytest.mark.parametrize(
    ("name", "password", "found"),
    [
        ("team/public:1", "", Found.YES),
        ("team/public:2", "", Found.NO),
        ("team/public", "", Found.NO),
        ("team/private:1", "", Found.REFUSED),
        ("team/private:1", "wrong", Found.REFUSED),
        ("team/private:1", PASSWORD, Found.YES),
        ("team/private:2", PASSWORD, Found.NO),
    ],
)
def test_a_registry_with_tokens(
    registry: ImageRegistry, name: str, password: str, found: Found
) -> None:
    with_login = login(registry, password) if password else None
    assert look_for(registry.image(name), with_login).found is found


@pytest.mark.parametrize(
    ("password", "found"),
    [("", Found.REFUSED), ("wrong", Found.REFUSED), (PASSWORD, Found.YES)],
)
def test_a_registry_with_passwords(registry: ImageRegistry, password: str, found: Found) -> None:
    registry.scheme = "basic"
    with_login = login(registry, password) if password else None
    assert look_for(registry.image("team/private:1"), with_login).found is found
    assert len(registry.asked) == (2 if password else 1)


def test_a_registry_that_gives_no_answer_is_unknown(registry: ImageRegistry) -> None:
    registry.broken = 404
    assert look_for(registry.image("team/public:1"), None).found is Found.NO
    registry.broken = 418
    look = look_for(registry.image("team/public:1"), None)
    assert (look.found, "418" in look.says) == (Found.UNKNOWN, True)
    nobody = look_for("127.0.0.1:9/team/public:1", None)
    assert nobody.found is Found.UNKNOWN
    assert "no answer" in nobody.says


def test_no_message_has_the_password(registry: ImageRegistry) -> None:
    registry.scheme = "basic"
    registry.broken = 418
    assert PASSWORD not in repr(look_for(registry.image("team/private:1"), login(registry)))


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("python:3.12", "library/python"),
        ("you/worker", "you/worker"),
        ("docker.io/python", "library/python"),
        ("ghcr.io/you/worker:1", "you/worker"),
        ("ghcr.io/worker@sha256:00", "worker"),
        ("localhost:5000/a/b/c:1", "a/b/c"),
    ],
)
def test_the_name_within_the_registry(image: str, repository: str) -> None:
    assert repository_of(image) == repository


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("registry.example:5000", "https://registry.example:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_only_a_registry_on_this_machine_is_asked_without_tls(host: str, address: str) -> None:
    assert _address(host) == address


ANN = RegistryLogin(host="ghcr.io", user=USER, password=PASSWORD)


def wants(header: str) -> Answer:
    """The answer of a registry that wants a login."""
    return Answer(what="HEAD /v2/x", status=401, headers={"www-authenticate": header})


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ('Digest realm="https://auth.example/token"', "a login of a kind that is not known here"),
        ('Bearer service="here"', "a login of a kind that is not known here"),
        ("", "a login of a kind that is not known here"),
        ('Bearer realm="http://auth.example/token"', "sends logins to auth.example without TLS"),
    ],
)
def test_no_login_is_sent_in_a_way_that_is_unknown_or_unsafe(
    monkeypatch: pytest.MonkeyPatch, header: str, says: str
) -> None:
    asked = answer_from_memory(monkeypatch, lambda _: httpx.Response(200, json={"token": "t"}))
    with pytest.raises(ValueError, match=says):
        _authorization(wants(header), ANN)
    assert asked == []


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ('Bearer realm="https://auth.example"', "https://auth.example/"),
        ('bearer realm="https://auth.example/token"', "https://auth.example/token"),
        ('Bearer realm="http://127.0.0.1/token"', "http://127.0.0.1/token"),
        (
            'Bearer realm="https://a.example/t",service="here",scope="repository:x:pull",error="no"',
            "https://a.example/t?service=here&scope=repository%3Ax%3Apull",
        ),
    ],
)
def test_a_token_is_asked_for_where_the_registry_says(
    monkeypatch: pytest.MonkeyPatch, header: str, url: str
) -> None:
    asked = answer_from_memory(monkeypatch, lambda _: httpx.Response(200, json={"token": "t"}))
    assert _authorization(wants(header), ANN) == "Bearer t"
    [request] = asked
    assert request.url == httpx.URL(url)
    said = request.headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(said).decode() == f"{USER}:{PASSWORD}"


@pytest.mark.parametrize("path", ["", "/token"])
def test_a_server_of_tokens_that_fails_is_named_by_its_path(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    answer_from_memory(monkeypatch, lambda _: httpx.Response(500))
    with (
        stamina.set_testing(True, attempts=1),
        pytest.raises(Unavailable, match=f"GET {path or '/'}: answered 500"),
    ):
        _authorization(wants(f'Bearer realm="https://auth.example{path}"'), None)


@pytest.mark.parametrize(
    ("status", "body", "authorization"),
    [
        (200, {"access_token": "t"}, "Bearer t"),
        (200, {"token": 7}, ""),
        (200, {}, ""),
        (200, ["t"], ""),
        (401, {"token": "t"}, ""),
    ],
)
def test_a_token_is_what_a_success_calls_one(
    monkeypatch: pytest.MonkeyPatch, status: int, body: object, authorization: str
) -> None:
    answer_from_memory(monkeypatch, lambda _: httpx.Response(status, json=body))
    header = 'Bearer realm="https://auth.example/token"'
    assert _authorization(wants(header), None) == authorization
