"""Writes fleets as a file that declares them, so that `apply` of it changes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import tomli_w
import yaml

from fleet import keeping_code
from fleet.declarations.differences import ONLY_IF_NAMED
from fleet.declarations.tables import BY_REFERENCE, default_of
from fleet.models import Fleet
from fleet.operating import EDITABLE
from fleet.ordering import LOCAL
from fleet.tick.scheduling import DEFAULT_TICK
from pods.masking import without_passwords

# What a reader looks for first stands first, also if it is a default.
ALWAYS: Final = ("backlog", "stream", "max_instances", "handler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A file's content, and what must be done before or after it is used."""

    document: Mapping[str, Any]
    variables: tuple[str, ...]  # must be set before
    notes: tuple[str, ...] = ()  # what the file lacks, for people


def export(fleets: Iterable[Fleet]) -> Exported:
    """The fleets as a file declares them: what differs from the defaults, without passwords."""
    variables: list[str] = []
    every = list(fleets)
    tables = {fleet.name: _table(fleet, variables) for fleet in every}
    notes = [
        f"{fleet.name}: its code is not in this file; give it with `fleet set {fleet.name} --script "
        f'PATH`, or put {_source(fleet)} beside this file and name it: script = "PATH"'
        for fleet in every
        if fleet.code_number
    ]
    return Exported(document={"fleets": tables}, variables=tuple(variables), notes=tuple(notes))


def _source(fleet: Fleet) -> str:
    """The name of the script or folder that the present code came from."""
    code = keeping_code.current(fleet)
    if code is None:
        return "it"
    return "".join(c if c.isprintable() else "?" for c in code.source)  # a comment is one line


def as_toml(exported: Exported) -> str:
    """The document as TOML.

    Raises:
        ValueError: an offer_query or a handler_env holds a null, which TOML does not have.
    """
    if place := _null(exported.document, ""):
        raise ValueError(f"{place} is null, which TOML does not have; export it as YAML")
    return _comments(exported) + tomli_w.dumps(exported.document)


def as_yaml(exported: Exported) -> str:
    """The document as YAML."""
    return _comments(exported) + yaml.safe_dump(
        exported.document, sort_keys=False, allow_unicode=True
    )


def _comments(exported: Exported) -> str:
    return "".join(f"# {note}\n" for note in exported.notes)


def _table(fleet: Fleet, variables: list[str]) -> dict[str, Any]:
    accounts = sorted(fleet.accounts.values_list("name", flat=True))
    period = int(fleet.tick_period.total_seconds())
    table: dict[str, Any] = {} if accounts == [LOCAL] else {"accounts": accounts}
    if period != DEFAULT_TICK.total_seconds():
        table["tick_seconds"] = period
    names = [name for name in EDITABLE if name not in ONLY_IF_NAMED]
    for name in [*ALWAYS, *(name for name in names if name not in ALWAYS)]:
        value = getattr(fleet, name)
        if name in BY_REFERENCE and value != without_passwords(value):
            variables.append(variable := f"{fleet.name}_{name}".upper().replace("-", "_"))
            if variable[0].isdigit():
                variables[-1] = variable = f"FLEET_{variable}"
            table[name] = {"env": variable}
        elif value is not None and (name in ALWAYS or value != default_of(name)):
            table[name] = _plain(value)
    return table


def _plain(value: Any) -> Any:
    """A value as TOML and YAML know it. A price stays the number that it is."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    plain = isinstance(value, bool | int | float | dict | list | datetime)
    return value if plain else str(value)


def _null(value: Any, place: str) -> str:
    """Where a null is; "" if there is none."""
    if value is None:
        return place
    parts = (
        value.items() if isinstance(value, Mapping)
        else enumerate(value) if isinstance(value, list)
        else ()
    )  # fmt: skip
    found = (_null(inner, f"{place}.{key}" if place else str(key)) for key, inner in parts)
    return next(filter(None, found), "")
