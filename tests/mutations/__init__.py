"""Takes out one protective line at a time, and runs the tests that must then fail."""
