"""Reads a file that declares fleets, TOML or YAML, and says where it is wrong."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fleet.code.packing import Packed
from fleet.declarations.tables import AS_TEXT, BY_NAME, SCRIPT, FromEnvironment, document_type
from pods.masking import without_passwords

LARGEST_FILE: Final = 1_000_000  # bytes; 500 fleets with every field need a third of it


class WrongDocument(ValueError):
    """A file cannot be used. `lines` say where it is wrong and what would be right."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One fleet of a file. `fields` has those that the file names, as the model takes them.

    `packed`: what `script` leads to (`scripts.py`); None: the file names no script, and the fleet
    keeps the code that it has.
    """

    name: str
    fields: Mapping[str, Any]
    accounts: tuple[str, ...]
    tick_seconds: int
    script: str = ""
    packed: Packed | None = None


def read(text: str, *, is_yaml: bool, environment: Mapping[str, str]) -> tuple[Declared, ...]:
    """The fleets that a text declares, in its order.

    Raises:
        WrongDocument: it cannot be read, names what nobody knows, has a value of a wrong type, a
            password in an address, or a variable that is not set.
    """
    found = _parsed(text, is_yaml=is_yaml)
    try:
        document: Any = document_type().model_validate(found)
    except ValidationError as exc:
        raise WrongDocument(list(_lines(exc))) from exc
    wrong: list[str] = []
    declared = [_declared(n, table, environment, wrong) for n, table in document.fleets.items()]
    if wrong:
        raise WrongDocument(wrong)
    return tuple(declared)


def _parsed(text: str, *, is_yaml: bool) -> Any:
    if len(text) > LARGEST_FILE:
        raise WrongDocument([f"the file has more than {LARGEST_FILE:,} characters; split it"])
    try:
        found = _Yaml(text).get_single_data() if is_yaml else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, ValueError) as exc:
        kind = "YAML" if is_yaml else "TOML"
        raise WrongDocument([f"this is not {kind}: {' '.join(str(exc).split())}"]) from exc
    except RecursionError as exc:
        raise WrongDocument(["the file is nested too deep"]) from exc
    return {} if found is None else found


class _Yaml(yaml.SafeLoader):
    """YAML without what surprises people: a key that is there twice, and anchors that multiply."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("write the value out instead of an alias (*)")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.YAMLError(
                    f"line {key.start_mark.line + 1}: {key.value!r} is there twice"
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _declared(name: str, table: Any, environment: Mapping[str, str], wrong: list[str]) -> Declared:
    fields: dict[str, Any] = {}
    for field in table.model_fields_set - {"accounts", "tick_seconds", SCRIPT}:
        value = getattr(table, field)
        place = f"fleets.{name}.{field}"
        if isinstance(value, FromEnvironment):
            if value.env not in environment:
                wrong.append(
                    f"{place}: the variable {value.env} is not set; set it, then try again"
                )
            value = environment.get(value.env, "")
        elif isinstance(value, str) and value != without_passwords(value):
            wrong.append(
                f"{place}: no password in a file; put the whole address into a variable of the "
                f'environment, and write {field} = {{ env = "NAME_OF_THE_VARIABLE" }}'
            )
        fields[field] = value
    return Declared(
        name=name, fields=fields, accounts=tuple(table.accounts), tick_seconds=table.tick_seconds,
        script=table.script,
    )  # fmt: skip


def _lines(error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_context=True):
        yield _line(detail)


def _line(detail: ErrorDetails) -> str:
    """One line: the place in the file, what is wrong there, and what would be right."""
    path = [str(part) for part in detail["loc"] if part not in {"[key]", AS_TEXT, BY_NAME}]
    place, kind = ".".join(path), detail["type"]
    if kind == "extra_forbidden":
        return f"{place}: {_unknown(path)}"
    if kind == "missing":
        return f"{place}: is missing; every fleet needs it"
    if kind == "string_pattern_mismatch" and len(path) == 2:
        text = "use 1 to 40 of the characters a-z, 0-9 and -; the first one must not be -"
        return f"{place}: {text}"
    if kind == "is_instance_of":
        return f"{place}: give a number, such as 2.5, without quotes"
    said = detail["msg"]
    return f"{place or 'the file'}: {said[:1].lower()}{said[1:]}"


def _unknown(path: Sequence[str]) -> str:
    if len(path) == 1:
        return "is not known; a file has the table `fleets`, as in [fleets.my-fleet]"
    known = list(document_type().model_fields["fleets"].annotation.__args__[1].model_fields)  # type: ignore[union-attr]
    near = difflib.get_close_matches(path[-1], known, n=1)
    return "is not a field of a fleet" + (f"; did you mean {near[0]}?" if near else "")
