"""Says what a fleet leaves in its former backlog when an operator gives it another one."""

from fleet import operating
from fleet.models import Fleet
from fleet.tick.gathering import measure
from pods.plural import plural


def left_behind(before: Fleet, after: Fleet) -> str:
    """What is left in the backlog from before, in one sentence. "": nothing, or it is the same.

    `before` are the values before the edit, `after` those after it. Both need no row.
    """
    if operating.backlog_of(before) == operating.backlog_of(after):
        return ""
    depth, unknown_because = measure(before)
    if depth is None:
        return f"nobody can say what is left in {before.stream}: {unknown_because}"
    if not depth.items:
        return ""
    count = plural(depth.items, "item")
    return (
        f"{count} {'is' if depth.items == 1 else 'are'} left in {before.stream}; only pods that run "
        "already take from it; to drain the rest, set the stream back, or create a fleet with the "
        f"stream {before.stream}"
    )
