"""Which tests the list of protective lines names for a line of code."""

from collections.abc import Collection, Sequence
from pathlib import Path

from tests.mutations.conditionals.mutant import Mutant
from tests.mutations.mutation import Mutation


class Named:
    """Knows the tests that are named for each line of each file."""

    def __init__(self, root: Path, lines: Sequence[Mutation]) -> None:
        self._of: dict[tuple[str, int], set[str]] = {}
        for mutation in lines:
            text = (root / mutation.file).read_text(encoding="utf-8")
            first = text.partition(mutation.before)[0].count("\n") + 1
            for line in range(first, first + mutation.before.count("\n") + 1):
                self._of.setdefault((mutation.file, line), set()).update(mutation.tests)

    def of(self, mutant: Mutant) -> Collection[str]:
        """The tests that are named for its line."""
        return self._of.get((mutant.file, mutant.line), set())
