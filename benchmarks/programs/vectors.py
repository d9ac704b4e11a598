"""The handlers of the benchmark of datasets: 384 float32 for each row, at no cost."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pods.agent.handlers import Item, columns

WIDTH: Final = 384
ROWS: Final = 4096
_numbers = np.random.default_rng(1).standard_normal(ROWS * WIDTH, dtype=np.float32)
_arrays: Final = _numbers.reshape(ROWS, WIDTH)
_pool: Final = pa.FixedSizeListArray.from_arrays(pa.array(_numbers), WIDTH)


@columns
def vectors(rows: Any) -> Any:
    """A vector for each row, which zstd cannot make much smaller."""
    return pa.RecordBatch.from_arrays([_pool.slice(0, rows.num_rows)], names=["vector"])


vectors.batch_size = ROWS  # type: ignore[attr-defined]


def rows(batch: Sequence[Item]) -> list[Any]:
    """The same for a handler of items: an array for each row."""
    return list(_arrays[: len(batch)])


rows.batch_size = ROWS  # type: ignore[attr-defined]
