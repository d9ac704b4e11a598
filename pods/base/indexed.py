"""Conditions by which queries for pods use the partial indexes of pods/models/pods.py."""

from typing import Any

from django.db.models import F, Lookup

from pods.rules import FAILED_BY
from pods.states import BILLABLE_WORDS


class Spelled(Lookup):
    """As `IN`, with the values in the text: SQLite compares it with the text of the index's condition.

    The values are words of our own, never text from outside.
    """

    lookup_name = "spelled"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """The condition, and no parameter for its values."""
        column, values = self.process_lhs(compiler, connection)
        words = ", ".join(f"'{word}'" for word in self.rhs)
        return f"{column} IN ({words})", values


def may_bill() -> Spelled:
    """The pods of `billable()`, by their index: however many have ended, nobody reads them."""
    return Spelled(F("state"), BILLABLE_WORDS)


def has_failed() -> Spelled:
    """The pods that failed, or that got no machine."""
    return Spelled(F("retire_rule"), FAILED_BY)
