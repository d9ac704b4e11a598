"""The providers that exist: ours by name, those of third parties by entry point."""

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol, cast

from pods.providers.account_options import OptionField, option_fields
from pods.providers.base import Provider
from pods.providers.pacing import MakePacer, unpaced

GROUP: Final = "podfleet.providers"
# Each is imported on first use, so that nobody needs the packages of a vendor that is not used.
BUILT_IN: Final[Mapping[str, str]] = {
    "docker": "pods.providers.docker",
    "local": "pods.providers.local",
    "runpod": "pods.providers.runpod",
    "vastai": "pods.providers.vastai",
}
# How pages call them. That of a third party is called by its own name.
TITLES: Final[Mapping[str, str]] = {
    "docker": "Docker host",
    "local": "This machine",
    "runpod": "RunPod",
    "vastai": "Vast.ai",
}


class ProviderFactory(Protocol):
    """What an entry point of the group `podfleet.providers` points to."""

    def __call__(
        self, *, options: Mapping[str, Any], secret: str | None, make_pacer: MakePacer
    ) -> Provider:
        """The adapter of one account.

        An adapter that talks HTTP gives `make_pacer(capabilities.rates)` to its VendorHttp.

        Raises:
            ValueError: an option is unknown or wrong. The message names it and what is right.
        """
        ...


def names() -> list[str]:
    """The names that `create_provider` knows. A third party cannot take one of our names."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def title(name: str) -> str:
    """How pages call this provider."""
    return TITLES.get(name, name)


def about(name: str) -> str:
    """What pods of this provider are, in one line; "" if its adapter does not say it.

    Raises:
        ValueError: the provider is unknown, or cannot be loaded.
    """
    if name in BUILT_IN:
        text = import_module(BUILT_IN[name]).__doc__ or ""
    else:
        text = getattr(_factory(name), "__doc__", None) or ""
    return text.strip().partition("\n")[0]


def option_fields_of(name: str) -> Sequence[OptionField] | None:
    """The options of this provider's accounts; None if its adapter does not describe them.

    Ours describe them by a dataclass. A factory of a third party can have one as its attribute
    `options`.

    Raises:
        ValueError: the provider is unknown, or cannot be loaded.
    """
    options: Any
    if name in BUILT_IN:
        options = import_module(f"{BUILT_IN[name]}.options").Options
    else:
        options = getattr(_factory(name), "options", None)
    return option_fields(options) if is_dataclass(options) and isinstance(options, type) else None


def create_provider(
    name: str,
    *,
    options: Mapping[str, Any],
    secret: str | None,
    make_pacer: MakePacer = unpaced,
) -> Provider:
    """The adapter of one account. `make_pacer` makes the pacer that counts its calls.

    Raises:
        ValueError: the provider is unknown, or an option is wrong. The message says what is right.
    """
    return _factory(name)(options=options, secret=secret, make_pacer=make_pacer)


def _factory(name: str) -> ProviderFactory:
    if name in BUILT_IN:
        return cast(ProviderFactory, import_module(BUILT_IN[name]).connect)
    points = entry_points(group=GROUP, name=name)
    if not points:
        raise ValueError(f"no provider {name!r}; known: {', '.join(names())}")
    if len(points) > 1:
        # It would be chance which one is loaded, and it could get credentials meant for the other.
        rivals = ", ".join(sorted(map(_package, points)))
        raise ValueError(f"provider {name!r} comes from {rivals}; uninstall all but one")
    [point] = points
    try:
        factory = point.load()
    except (ImportError, AttributeError) as exc:
        raise ValueError(f"provider {name!r} is installed and cannot be loaded: {exc}") from exc
    if callable(factory):
        return cast(ProviderFactory, factory)
    raise ValueError(f"provider {name!r}: {point.value} of {_package(point)} cannot be called")


def _package(point: EntryPoint) -> str:
    return "a package" if point.dist is None else point.dist.name
