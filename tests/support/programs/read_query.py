"""Reads all items of a query: `read_query DATABASE_URL SQL`.

It prints the number of items and its largest memory in bytes on the standard error.
"""

import sys

from fleet.items.queries import ItemQuery
from tests.support.memory import peak_bytes

if __name__ == "__main__":
    count = sum(1 for _ in ItemQuery(sys.argv[2], url=sys.argv[1]))
    sys.stderr.write(f"{count} {peak_bytes()}")
