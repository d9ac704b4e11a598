"""Reads all items of a query: `read_query DATABASE_URL SQL`.

It says on the standard error how many they were, and how many bytes it took at most.
"""

import sys

from fleet.items.queries import ItemQuery
from tests.support.memory import peak_bytes

if __name__ == "__main__":
    count = sum(1 for _ in ItemQuery(sys.argv[2], url=sys.argv[1]))
    sys.stderr.write(f"{count} {peak_bytes()}")
