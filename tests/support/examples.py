"""How many examples a property is tried with: few in each run of `make test`, which draws others each time.

`HYPOTHESIS_PROFILE=long` tries them all; `make test-long` and the mutations set it.
"""

import os
from typing import Final

LONG: Final = os.environ.get("HYPOTHESIS_PROFILE") == "long"
USUAL: Final = 100  # Hypothesis' own number
SHARE: Final = 8
FEWEST: Final = 25


def examples(most: int = USUAL) -> int:
    """`most` in a long run, else an eighth of them, but not below 25."""
    return most if LONG else min(most, max(FEWEST, most // SHARE))
