"""A fleet's code: how it is packed, checked without running it, and brought to its pods."""
