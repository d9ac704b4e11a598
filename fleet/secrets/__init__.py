"""The secrets of fleets: which names and values they may have, and their way to the pods."""
