"""Which registry has an image: by the rules of Docker's image names. Pure."""

from enum import StrEnum
from typing import Final

DOCKER_HUB: Final = "docker.io"
# All of them mean Docker Hub: its website, the address in `docker login`, and its registry.
_HUB_NAMES: Final = frozenset(
    {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)


class Found(StrEnum):
    """What a registry says of an image."""

    YES = "yes"
    NO = "no"
    REFUSED = "refused"  # it wants a login, or another one
    UNKNOWN = "unknown"  # it gave no answer that says it


def registry_of(image: str) -> str:
    """The host of an image's registry, with its port if it names one.

    The part before the first slash is a host if it has a dot or a colon, or is `localhost`. Every
    other image is at Docker Hub (distribution/reference, read 2026-12-01).
    """
    first, slash, _ = image.partition("/")
    return registry_named(first) if _is_host(first, slash) else DOCKER_HUB


def registry_named(host: str) -> str:
    """The one name of a registry that has several: `index.docker.io` is `docker.io`."""
    lower = host.strip().lower()
    return DOCKER_HUB if lower in _HUB_NAMES else lower


def repository_of(image: str) -> str:
    """The name of an image within its registry. Docker Hub has its own images below `library/`."""
    name = image_parts(image)[0]
    first, slash, rest = name.partition("/")
    if _is_host(first, slash):
        name = rest
    at_the_hub = registry_of(image) == DOCKER_HUB
    return f"library/{name}" if at_the_hub and "/" not in name else name


def image_parts(image: str) -> tuple[str, str]:
    """The name of an image, and its digest or tag. A digest says all, so a tag beside it is left out."""
    name, _, digest = image.partition("@")
    if ":" in name.rpartition("/")[2]:
        name, _, tag = name.rpartition(":")
    else:
        tag = "latest"
    return name, digest or tag


def _is_host(first: str, slash: str) -> bool:
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
