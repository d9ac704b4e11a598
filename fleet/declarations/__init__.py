"""Fleets that a file declares: what it would change, the change, and the file of what there is."""
