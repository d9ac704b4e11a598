"""Every protective line, in the order of docs/explanation/protective-lines.md."""

from collections.abc import Sequence
from typing import Final

from tests.mutations.batches import BATCHES
from tests.mutations.brakes import BRAKES
from tests.mutations.clocks_and_servers import CLOCKS_AND_SERVERS
from tests.mutations.handlers import HANDLERS
from tests.mutations.in_hand import IN_HAND
from tests.mutations.items import ITEMS
from tests.mutations.limits import LIMITS
from tests.mutations.measures import MEASURES
from tests.mutations.mutation import Mutation
from tests.mutations.offers import OFFERS
from tests.mutations.owners import OWNERS
from tests.mutations.pods_and_machines import PODS_AND_MACHINES
from tests.mutations.stopping import STOPS
from tests.mutations.vendors_queue_secrets import VENDORS_QUEUE_SECRETS

LINES: Final[Sequence[Mutation]] = (
    *LIMITS,
    *STOPS,
    *BRAKES,
    *OFFERS,
    *PODS_AND_MACHINES,
    *OWNERS,
    *CLOCKS_AND_SERVERS,
    *ITEMS,
    *BATCHES,
    *IN_HAND,
    *MEASURES,
    *HANDLERS,
    *VENDORS_QUEUE_SECRETS,
)

# What each group of lines protects: the rows of the table in docs/explanation/protective-lines.md.
TABLE: Final = (
    ("limits on a decision, and an unknown backlog", LIMITS),
    ("a stop of everything, and its undo", STOPS),
    ("what fails again and again, and who is told", BRAKES),
    ("what is rented, and what is received", OFFERS),
    ("each pod's row is true to its machine", PODS_AND_MACHINES),
    ("whose a machine, a claim or an edit is, and when waits and tries end", OWNERS),
    ("hosts with other clocks, and servers that do not answer", CLOCKS_AND_SERVERS),
    ("each item has one result", ITEMS),
    ("each request of a batch has one line in a file", BATCHES),
    ("what an agent has in hand", IN_HAND),
    ("what an agent measures, and what is concluded", MEASURES),
    ("ready handlers and their calls", HANDLERS),
    ("vendors' answers, the task queue, secrets", VENDORS_QUEUE_SECRETS),
)


def table() -> str:
    """The rows of the table, as Markdown."""
    return "\n".join(
        f"| {protected} | {' · '.join(f'`{mutation.name}`' for mutation in lines)} |"
        for protected, lines in TABLE
    )
