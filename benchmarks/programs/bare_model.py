"""Calls the model in a loop and keeps nothing. `FOLDER`: prints the seconds, without the load."""

import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.programs.minilm import BATCH, embed


def main() -> None:
    """Embed all texts of all files."""
    texts: list[str] = []
    for path in sorted(Path(sys.argv[1]).glob("*.parquet")):
        texts += pq.read_table(path, columns=["text"]).column(0).to_pylist()
    embed.setup()
    embed.vectors(texts[:BATCH])
    began = time.perf_counter()
    for first in range(0, len(texts), BATCH):
        embed.vectors(texts[first : first + BATCH])
    sys.stdout.write(f"{time.perf_counter() - began}\n")


if __name__ == "__main__":
    main()
