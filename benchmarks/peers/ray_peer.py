"""Ray Data: `ray_peer.py FOLDER SINK ROWS ACTORS`. Prints the seconds of init and of the work."""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import pyarrow as pa
import ray
import ray.data

from benchmarks.programs.vectors import vectors


class Work:
    """The handler of the agent, called as Ray calls its own."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The vectors with the ids."""
        rows = batch.combine_chunks().to_batches()[0]
        return pa.table({"id": rows.column("id"), "vector": vectors(rows).column("vector")})


def work(folder: str, sink: str, rows: int, actors: int) -> None:
    """Read, call, write."""
    read = ray.data.read_parquet(folder)
    made = read.map_batches(
        Work, batch_format="pyarrow", batch_size=rows,
        compute=ray.data.ActorPoolStrategy(size=actors), num_cpus=1 if actors == 1 else 0.5,
    )  # fmt: skip
    made.write_parquet(sink, compression="zstd", use_dictionary=False)


def main() -> None:
    """Once to warm up with one file, then all of them."""
    folder, sink, rows, actors = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    began = time.perf_counter()
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=500 * 2**20, log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}},
    )  # fmt: skip
    started = time.perf_counter()
    ray.data.DataContext.get_current().enable_progress_bars = False
    first = min(Path(folder).iterdir())
    work(str(first), f"{sink}/warm", rows, actors)
    warm = time.perf_counter()
    work(folder, f"{sink}/parts", rows, actors)
    ended = time.perf_counter()
    sys.stdout.write(f"{started - began:.2f} {ended - warm:.3f}\n")


if __name__ == "__main__":
    main()
