"""The memory of a process."""

import resource


def peak_bytes() -> int:
    """The largest memory that this process has had until now."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
