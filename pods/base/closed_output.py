"""Ends a command quietly whose reader has left, such as `head` behind a pipe."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# What a shell shows for a program that SIGPIPE (13) ended, as other tools of Unix end here. That
# signal itself stays ignored: it would also end the program when a server closes a connection.
ENDED_BY_SIGPIPE: Final = 128 + 13


@contextmanager
def ending_quietly() -> Iterator[None]:
    """Run the block; if nobody reads its standard output any more, exit without a trace."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, and not when Python ends, which would print a warning
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        # What Python flushes at its end has to go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(ENDED_BY_SIGPIPE) from None


def _reader_has_left() -> bool:
    """Whether standard output is a pipe without a reader; another broken pipe is a fault to show."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError):  # standard output is missing, or is not a file
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(what & (select.POLLERR | select.POLLHUP) for _, what in poll.poll(0))
