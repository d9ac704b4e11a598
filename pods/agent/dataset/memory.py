"""Lets freed memory go back to the machine: an agent of a dataset frees many large blocks."""

import ctypes

# Numbers of glibc's `mallopt`.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# Larger blocks are a mapping of their own, which ends when it is freed. By itself glibc raises this
# bound to 32 MiB, and the blocks below it lie between others: 490 MB in place of 330 MB with the
# default PODFLEET_RANGE_BYTES (measured on 2026-11-30). The working memory of zstd for each page is
# between 1 and 2 MiB: as a mapping of its own its pages would come from the kernel each time, which
# was a fifth of the time of a part (measured on 2026-12-01).
_LARGE_BYTES = 2 * 1024 * 1024
_KEPT_BYTES = 4 * 1024 * 1024  # at the end of the heap, for the next page
_ARENAS = 1  # blocks that one thread frees are used by others


def let_go() -> None:
    """Set this process up. Where the C library is another one, nothing is changed."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_ARENA_MAX, _ARENAS)


def trim() -> None:
    """Give the machine what lies free between other blocks: after a part, about a millisecond."""
    try:
        ctypes.CDLL(None).malloc_trim(_KEPT_BYTES)
    except (OSError, AttributeError, TypeError):
        return
