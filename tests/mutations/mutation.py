"""One protective line, and what the code is without it."""

from dataclasses import dataclass
from pathlib import Path


class DoesNotApply(Exception):
    """The text to be replaced is not there exactly once: the code has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """The text `before` stands in `file` exactly once; each of `tests` fails where it is `after`."""

    name: str
    file: str  # from the root of the checkout
    before: str
    after: str
    tests: tuple[str, ...]  # of them one at least must fail

    def applied(self, root: Path) -> str:
        """The file's text with the mutation.

        Raises:
            DoesNotApply: the text to be replaced is not there exactly once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        found = text.count(self.before)
        if found != 1:
            raise DoesNotApply(f"{self.name}: {found} times in {self.file}: {self.before!r}")
        return text.replace(self.before, self.after)
