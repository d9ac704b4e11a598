"""Which names the streams of a fleet may have. A pod's Redis user gets rights on these keys."""

import re
from fnmatch import fnmatchcase
from typing import Final

from pods.agent import protocol

# Blanks, quotes, brackets and `*` mean something else than themselves in a rule of Redis' users.
ALLOWED: Final = re.compile(r"[\w.:/@+=#{}-]+")
WORDS: Final = "letters, digits and . _ : / @ + = # { } -"
PREFIX: Final = "podfleet:"  # of every key that the manager and its agents read and write
# The keys of the manager's own Celery queues, which are on the installation's Redis.
QUEUES: Final = ("control", "vendor", "notify")
CELERYS: Final = (*QUEUES, "celeryev", "unacked", "unacked_index", "unacked_mutex")
CELERYS_PREFIX: Final = "_kombu."


class RefusedName(ValueError):
    """A stream may not have this name; `field` is the setting that names it."""

    def __init__(self, field: str, because: str) -> None:
        super().__init__(because)
        self.field = field


def check_names(*, stream: str, results: str = "", reply_to: str = "") -> None:
    """Check the names of a fleet's backlog, of its result stream and of its further streams.

    Whatever these names are, a pod may write results only: never items, dead letters, another
    pod's fence, or the manager's queues.

    Raises:
        RefusedName: a name is not allowed; the message says why and what would be right.
    """
    _check_one("stream", stream)
    check_targets(stream=stream, results=results, reply_to=reply_to)


def check_targets(*, stream: str, results: str = "", reply_to: str = "") -> None:
    """Check the names to which a fleet's results go; its Celery queue may have any name.

    Raises:
        RefusedName: as `check_names`.
    """
    if results:
        _check_results(results, stream)
    for pattern in patterns(reply_to):
        _check_pattern(pattern, stream)


def _check_results(results: str, stream: str) -> None:
    _check_one("results", results)
    if results == stream:
        raise RefusedName(
            "results", f"{results} is the backlog itself: each result would become an item"
        )
    if stream.startswith(f"{results}:"):
        raise RefusedName(
            "results",
            f"items may name {results}:* for their results, and the backlog {stream} is one of "
            "these; give another name",
        )
    _check_no_letters("results", results)


def patterns(reply_to: str) -> list[str]:
    """The patterns of a fleet's `reply_to`."""
    return [part.strip() for part in reply_to.split(",") if part.strip()]


def _check_one(field: str, name: str) -> None:
    if not ALLOWED.fullmatch(name):
        raise RefusedName(field, f"{name!r} is not a name for a stream; use {WORDS}")
    if f"{name}:".startswith(PREFIX):
        raise RefusedName(field, f"{name} belongs to Podfleet; give a name of your own")
    if name in CELERYS or name.startswith(CELERYS_PREFIX):
        raise RefusedName(field, f"{name} is a key of Podfleet's own queues; give another name")


def _check_no_letters(field: str, name: str) -> None:
    if name.endswith(protocol.dead_stream("")):
        raise RefusedName(field, f"{name} is a stream of dead letters; give another name")


def _check_pattern(pattern: str, stream: str) -> None:
    fixed, star, _ = pattern.partition("*")
    # The text before the first `*` must rule out every key of Podfleet.
    for prefix in (PREFIX, CELERYS_PREFIX):
        if fixed.startswith(prefix) or (star and prefix.startswith(fixed)):
            raise RefusedName(
                "reply_to",
                f"{pattern} could be any key, or one of Podfleet; begin it with a name of your own",
            )
    if not ALLOWED.fullmatch(pattern.replace("*", "x")):
        raise RefusedName(
            "reply_to", f"{pattern}: * is the only special character that is allowed; use {WORDS}"
        )
    if fnmatchcase(stream, pattern) or fnmatchcase(protocol.dead_stream(stream), pattern):
        raise RefusedName("reply_to", f"{pattern} allows {stream} or its dead letters")
    if not star:
        _check_one("reply_to", pattern)
        _check_no_letters("reply_to", pattern)
    for name in CELERYS:
        if fnmatchcase(name, pattern):
            raise RefusedName(
                "reply_to", f"{pattern} allows {name}, a key of Podfleet's own queues"
            )
