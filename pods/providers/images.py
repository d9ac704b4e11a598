"""Which registry has an image: by the rules of Docker's image names. Pure."""

from typing import Final

DOCKER_HUB: Final = "docker.io"
# All of them mean Docker Hub: its website, the address in `docker login`, and its registry.
_HUB_NAMES: Final = frozenset(
    {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)


def registry_of(image: str) -> str:
    """The host of an image's registry, with its port if it names one.

    The part before the first slash is a host if it has a dot or a colon, or is `localhost`. Every
    other image is at Docker Hub (distribution/reference, read 2026-12-01).
    """
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return registry_named(first) if is_host else DOCKER_HUB


def registry_named(host: str) -> str:
    """The one name of a registry that has several: `index.docker.io` is `docker.io`."""
    lower = host.strip().lower()
    return DOCKER_HUB if lower in _HUB_NAMES else lower
