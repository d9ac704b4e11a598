"""Which registry an image comes from, by the rules of Docker's names."""

import pytest

from pods.providers.images import registry_named, registry_of


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("redis", "docker.io"),
        ("redis:7", "docker.io"),
        ("you/worker:1", "docker.io"),
        ("docker.io/you/worker:1", "docker.io"),
        ("index.docker.io/you/worker", "docker.io"),
        ("registry-1.docker.io/you/worker", "docker.io"),
        ("ghcr.io/you/worker@sha256:abc", "ghcr.io"),
        ("GHCR.io/you/worker", "ghcr.io"),
        ("localhost/worker", "localhost"),
        ("registry:5000/worker:1", "registry:5000"),
        ("123.dkr.ecr.eu-west-1.amazonaws.com/a/b", "123.dkr.ecr.eu-west-1.amazonaws.com"),
        ("", "docker.io"),
    ],
)
def test_the_part_before_the_first_slash_is_a_host_if_it_looks_like_one(
    image: str, host: str
) -> None:
    assert registry_of(image) == host
    assert registry_named(host.upper()) == host
