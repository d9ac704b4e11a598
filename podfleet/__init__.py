"""The command `podfleet` of the wheel; the application itself lies in `_app`."""
