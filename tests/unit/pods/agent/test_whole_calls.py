"""Whether a call brought all that it may, so that the next one follows at once."""

import pytest

from pods.agent.stream import LARGEST_TAKE_BYTES, Entry, brought_all


@pytest.mark.parametrize(
    ("items", "size", "count", "max_bytes", "all_of_it"),
    [
        (2, 1, 2, 100, True),
        (1, 1, 2, 100, False),
        (1, 100, 2, 100, True),
        # a call takes no more than this, whatever the agent has room for
        (1, LARGEST_TAKE_BYTES, 2, 4 * LARGEST_TAKE_BYTES, True),
        (0, 0, 2, 100, False),
    ],
)
def test_a_call_that_brought_its_items_or_its_bytes_may_have_left_more(
    items: int, size: int, count: int, max_bytes: int, *, all_of_it: bool
) -> None:
    entries = [Entry(f"{n}-0", {}, size=size) for n in range(items)]
    assert brought_all(entries, count, max_bytes) is all_of_it
