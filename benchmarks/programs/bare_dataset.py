"""The bare loop of the benchmark of datasets: one process that reads, calls and writes, with pyarrow."""

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def main() -> None:
    """`FOLDER SINK HANDLER ROWS`: each file becomes a part. Prints the seconds."""
    folder, sink, name, rows = sys.argv[1:5]
    module, _, function = name.partition(":")
    handler = getattr(import_module(module), function)
    began = time.perf_counter()
    for path in sorted(Path(folder).glob("*.parquet")):
        work(path, Path(sink) / path.name, handler, int(rows))
    sys.stdout.write(f"{time.perf_counter() - began}\n")


def work(path: Any, part: Any, handler: object, rows: int) -> None:
    """Read a Parquet file, call the handler with each batch of `rows`, and write the part."""
    writer = None
    for batch in pq.ParquetFile(path, pre_buffer=True).iter_batches(rows):
        made = handler(batch)  # type: ignore[operator]
        table = pa.Table.from_arrays([batch.column("id"), *made.columns], names=["id", "vector"])
        if writer is None:
            writer = pq.ParquetWriter(part, table.schema, compression="zstd", use_dictionary=False)
        writer.write_table(table)
    if writer is not None:
        writer.close()


if __name__ == "__main__":
    main()
