"""How a ready handler is set: by an argument in a script, else by a variable of the fleet."""

import os
from collections.abc import Sequence
from typing import TypeVar, Union

PREFIX = "HANDLER_"
T = TypeVar("T", str, int, float, bool)
Names = Union[str, Sequence[str], None]
TRUE, FALSE = {"1", "true", "yes"}, {"0", "false", "no"}


class WrongOption(ValueError):
    """An option of a ready handler is missing or has no meaning."""


def option(name: str, given: Union[T, None], default: T) -> T:
    """The argument; without one the variable `HANDLER_<NAME>`; without that the default.

    Raises:
        WrongOption: the variable is not of the default's type.
    """
    if given is not None:
        return given
    variable = PREFIX + name.upper()
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if isinstance(default, bool):
        if text.lower() not in TRUE | FALSE:
            raise WrongOption(f"{variable} is {text!r}; give true or false")
        return text.lower() in TRUE
    try:
        return type(default)(text)
    except ValueError as exc:
        raise WrongOption(f"{variable} is {text!r}; give a number such as {default}") from exc


def required(name: str, given: Union[str, None], example: str) -> str:
    """As `option`, of a text without which the handler cannot work.

    Raises:
        WrongOption: it is not given.
    """
    found = option(name, given, "")
    if not found:
        raise WrongOption(
            f"{name} is not given; write {name}={example!r} in the script, or set the variable "
            f"{PREFIX}{name.upper()}"
        )
    return found


def names(name: str, given: Names) -> list[str]:
    """As `option`, of names in a list or in a text with commas."""
    found = option(name, given if given is None or isinstance(given, str) else ",".join(given), "")
    return [part.strip() for part in found.split(",") if part.strip()]
