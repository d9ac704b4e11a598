"""The benchmarks: one module each; its `run(console, *, quick)` returns the dict of the last line."""
