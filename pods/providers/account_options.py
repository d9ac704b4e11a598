"""What the options of every vendor's account have in common: their names, their types, their help."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints


class OptionKind(Enum):
    """What a person types for an option."""

    TEXT = "text"
    WHOLE = "whole"
    DECIMAL = "decimal"
    YES_NO = "yes_no"
    LINES = "lines"  # a list of texts


class WrongOption(ValueError):
    """A value of an option is wrong; the message says which, and what would be right."""

    def __init__(self, name: str, wrong: str) -> None:
        """`wrong` goes on after the name of the option: `is -1; give 0 or above`."""
        super().__init__(f"{name} {wrong}")
        self.name, self._wrong = name, wrong

    def said_of(self, label: str) -> str:
        """The message where the option has a label instead of its name, as in a form."""
        return f"{label} {self._wrong}"


@dataclass(frozen=True, slots=True)
class Called:
    """What people call an option, with its unit: `Annotated[int, Called("Disk, GB"), "…"]`."""

    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionField:
    """One option of an account, for a form."""

    name: str
    label: str  # for people; without one its name, in words
    kind: OptionKind
    default: Any  # None: there is none
    text: str  # for people: what it means


KINDS: Final[Mapping[Any, OptionKind]] = {
    str: OptionKind.TEXT,
    Path: OptionKind.TEXT,
    int: OptionKind.WHOLE,
    Decimal: OptionKind.DECIMAL,
    bool: OptionKind.YES_NO,
    Sequence: OptionKind.LINES,
}


def option_fields(options: type) -> Sequence[OptionField]:
    """The options of a dataclass: each field is `Annotated` with a text that says what it means.

    A `Called` beside the text has the label of its field in a form.
    """
    hints = get_type_hints(options, include_extras=True)
    return [_option(field, hints[field.name]) for field in fields(options)]


def _option(field: "Field[Any]", hint: Any) -> OptionField:
    said = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    in_words = field.name.replace("_", " ").capitalize()
    return OptionField(
        name=field.name,
        label=next((x.label for x in said if isinstance(x, Called)), in_words),
        kind=_kind(hint),
        default=None if field.default is MISSING else field.default,
        text=next((x for x in said if isinstance(x, str)), ""),
    )


def _kind(hint: Any) -> OptionKind:
    """The kind of a type: of `X | None` that of X, in this order, and text for an unknown type."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if isinstance(hint, UnionType):
        hint = get_args(hint)[0]
    return KINDS.get(hint) or KINDS.get(get_origin(hint)) or OptionKind.TEXT


def check_names(provider: str, given: Mapping[str, Any], options: type) -> None:
    """Refuse an option that the dataclass `options` does not have.

    Raises:
        ValueError: an option is unknown; the message names those that are known.
    """
    known = sorted(f.name for f in fields(options))
    if unknown := sorted(given.keys() - set(known)):
        raise ValueError(f"{provider}: unknown option {unknown[0]!r}; use {', '.join(known)}")
