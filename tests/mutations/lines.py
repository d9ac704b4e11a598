"""Every protective line, in the order of docs/reliability.md."""

from collections.abc import Sequence
from typing import Final

from tests.mutations.deciding import DECIDING
from tests.mutations.edges import EDGES
from tests.mutations.living import LIVING
from tests.mutations.mutation import Mutation
from tests.mutations.working import WORKING

LINES: Final[Sequence[Mutation]] = (*DECIDING, *LIVING, *WORKING, *EDGES)
