"""A protective line, and the text that takes its place."""

from dataclasses import dataclass
from pathlib import Path


class DoesNotApply(Exception):
    """The code has changed: the text to replace is not in the file exactly once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """Replaces `before`, which is in `file` exactly once, by `after`; one of `tests` must then fail."""

    name: str
    file: str  # from the root of the checkout
    before: str
    after: str
    tests: tuple[str, ...]  # at least one of them must fail

    def applied(self, root: Path) -> str:
        """The text of the file with the mutation.

        Raises:
            DoesNotApply: `before` is not in the file exactly once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        found = text.count(self.before)
        if found != 1:
            raise DoesNotApply(f"{self.name}: found {found} times in {self.file}: {self.before!r}")
        return text.replace(self.before, self.after)
