"""The benchmarks: one module each, with `run(console, *, quick) -> dict` for the last line."""
