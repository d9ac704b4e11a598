"""A provider in a package of another author."""

from collections.abc import Callable, Mapping


class Rented:
    """A provider that keeps its options and secret."""

    name = "mine"

    def __init__(self, options: Mapping[str, object], secret: str | None) -> None:
        self.options, self.secret = options, secret


def connect(
    *, options: Mapping[str, object], secret: str | None, make_pacer: Callable[..., object]
) -> Rented:
    if "flavour" in options:
        raise ValueError("mine: flavour unknown; use colour")
    return Rented(options, secret)
