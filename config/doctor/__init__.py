"""What `podfleet doctor` checks: facts are gathered within time limits, and judged by pure functions."""
