"""What a declared fleet would change: values and words, without writing anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fleet.declarations.documents import Declared
from fleet.declarations.tables import default_of
from fleet.models import Fleet
from fleet.operating import EDITABLE
from pods.masking import without_secrets

# What operators change while a fleet runs: a file leaves it alone unless it names it. Otherwise the
# next `apply` of a pipeline would let a fleet run that somebody paused at night.
ONLY_IF_NAMED: Final = frozenset({"mode"})


class Action(StrEnum):
    """What happens to one fleet."""

    CREATE = "create"
    CHANGE = "change"
    RESTORE = "restore"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field before and after, without passwords. `before` is None for a new fleet."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to one fleet."""

    fleet: str
    action: Action
    fields: tuple[FieldChange, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The change for `--json`."""
        return {
            "fleet": self.fleet,
            "action": self.action.value,
            "fields": {f.name: {"before": f.before, "after": f.after} for f in self.fields},
        }


def wanted(declared: Declared) -> dict[str, Any]:
    """All values that the fleet is to have: those of the file, else the defaults of the model."""
    return {
        name: declared.fields[name] if name in declared.fields else default_of(name)
        for name in EDITABLE
        if name in declared.fields or name not in ONLY_IF_NAMED
    }


def shown(value: Any) -> Any:
    """A value as people and programs may see it."""
    plain = value is None or isinstance(value, str | int | float | dict | list)
    return without_secrets(value if plain else str(value))


def between(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """The fields that differ, in the order of `after`."""
    return tuple(
        FieldChange(name=name, before=shown(before.get(name)), after=shown(value))
        for name, value in after.items()
        if name not in before or before[name] != value
    )


def values_of(fleet: Fleet, names: Sequence[str]) -> dict[str, Any]:
    """The values of these fields, the names of the accounts and the period of the ticks."""
    accounts = sorted(fleet.accounts.values_list("name", flat=True))
    return {
        **{name: getattr(fleet, name) for name in names},
        "accounts": accounts,
        "tick_seconds": int(fleet.tick_period.total_seconds()),
    }
