"""A provider in a package of somebody else."""

from collections.abc import Callable, Mapping


class Rented:
    """What it was made of."""

    name = "mine"

    def __init__(self, options: Mapping[str, object], secret: str | None) -> None:
        self.options, self.secret = options, secret


def connect(
    *, options: Mapping[str, object], secret: str | None, make_pacer: Callable[..., object]
) -> Rented:
    if "flavour" in options:
        raise ValueError("mine: flavour unknown; use colour")
    return Rented(options, secret)
