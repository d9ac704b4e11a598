"""Every protective line, in the order of docs/explanation/protective-lines.md."""

from collections.abc import Sequence
from typing import Final

from tests.mutations.deciding import DECIDING
from tests.mutations.edges import EDGES
from tests.mutations.living import LIVING
from tests.mutations.mutation import Mutation
from tests.mutations.working import WORKING

LINES: Final[Sequence[Mutation]] = (*DECIDING, *LIVING, *WORKING, *EDGES)

# What would be lost without them: the rows of the table in docs/explanation/protective-lines.md.
TABLE: Final = (
    ("the limits, and what is unknown", DECIDING),
    ("the tie between a row and its machine", LIVING),
    ("items, each once", WORKING),
    ("vendors' answers, secrets, the queue", EDGES),
)


def table() -> str:
    """The rows of the table, as Markdown."""
    return "\n".join(
        f"| {lost} | {' · '.join(f'`{mutation.name}`' for mutation in lines)} |"
        for lost, lines in TABLE
    )
