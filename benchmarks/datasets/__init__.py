"""What the benchmark of datasets measures: rows, a model, planning, and the memory of Redis."""
