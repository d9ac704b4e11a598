"""How much memory a process takes."""

import resource


def peak_bytes() -> int:
    """The most that this process ever had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
