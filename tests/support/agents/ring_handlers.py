"""A handler of columns whose process kills itself with -9 while it writes an answer, or right after.

Its answer for a row is LENGTH bytes, each of which is the row's number.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pods.agent.dataset.columns import Packed
from pods.agent.handlers import columns
from pods.agent.link import Link
from tests.support.agents.ring_marks import LENGTH, SENT, WRITING, WRITTEN

_dying: list[int] = []  # at which point, once a row has said it


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write(self: Packed, into: memoryview) -> None:
    if WRITING in _dying:
        into[: self.size // 2] = _whole(self)[: self.size // 2]
        die()
    _write(self, into)
    if WRITTEN in _dying:
        die()


def _whole(answer: Packed) -> memoryview:
    made = memoryview(bytearray(answer.size))
    _write(answer, made)
    return made


def send(self: Link, frame: Any, large: Sequence[bytes] = ()) -> None:
    _send(self, frame, large)
    if SENT in _dying:
        die()


_write, _send = Packed.write, Link.send
Packed.write, Link.send = write, send  # type: ignore[method-assign]


@columns
def marks(rows: Any) -> Any:
    numbers = rows.column(0).to_pylist()
    _dying.extend(n for n in numbers if n in {WRITING, WRITTEN, SENT})
    made = pa.array([bytes([n]) * LENGTH for n in numbers], pa.binary())
    return pa.RecordBatch.from_arrays([made], names=["result"])


@columns
def dies_once(rows: Any) -> Any:
    """The texts, many times over. The process is killed once while it writes; a file says so.

    It is killed with a batch of several rows: a row that is alone at a crash has failed.
    """
    mark = Path(os.environ["DIED"])
    if rows.num_rows > 1 and not mark.exists():
        mark.touch()
        _dying.append(WRITING)
    made = [text * 100 for text in rows.column("text").to_pylist()]
    return pa.RecordBatch.from_arrays([pa.array(made)], names=["result"])
