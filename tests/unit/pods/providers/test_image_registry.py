"""What a registry says of an image: asked over HTTP, as an engine asks before it pulls."""

from collections.abc import Iterator

import pytest

from pods.providers.base import RegistryLogin
from pods.providers.image_registry import look_for
from pods.providers.images import Found, repository_of
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
