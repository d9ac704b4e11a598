"""Handlers of datasets for tests: they return what a check can compute again."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pods.agent.handlers import Item, columns, each


def length(batch: Sequence[Item]) -> list[Any]:
    return [len(item.payload) for item in batch]


def vector(batch: Sequence[Item]) -> list[Any]:
    return [[float(len(item.payload))] * 4 for item in batch]


def labelled(batch: Sequence[Item]) -> list[Any]:
    return [{"size": len(item.payload), "text": item.text[:10]} for item in batch]


def slow(batch: Sequence[Item]) -> list[Any]:
    """Takes PACE_SECONDS for each item."""
    time.sleep(float(os.environ.get("PACE_SECONDS", "0.01")) * len(batch))
    return length(batch)


def waits_for_a_file(batch: Sequence[Item]) -> list[Any]:
    while not Path(os.environ["GATE"]).exists():
        time.sleep(0.01)
    return length(batch)


def refuses_bad(batch: Sequence[Item]) -> list[Any]:
    if any(item.payload.startswith(b"bad") for item in batch):
        raise ValueError("a bad row")
    return length(batch)


def fails_everything(batch: Sequence[Item]) -> list[Any]:
    raise ValueError("the GPU is lost")


def crashes_on_bad(batch: Sequence[Item]) -> list[Any]:
    if any(item.payload.startswith(b"bad") for item in batch):
        os.kill(os.getpid(), signal.SIGSEGV)
    return length(batch)


def hangs_on_bad(batch: Sequence[Item]) -> list[Any]:
    if any(item.payload.startswith(b"bad") for item in batch):
        time.sleep(3600)
    return length(batch)


_seen: set[str] = set()


@each
def fails_once(item: Item) -> int:
    if item.id not in _seen:
        _seen.add(item.id)
        raise ValueError("not yet")
    return len(item.payload)


def changes_its_type(batch: Sequence[Item]) -> list[Any]:
    return ["text" if item.payload.startswith(b"bad") else len(item.payload) for item in batch]


@columns
def column_lengths(rows: Any) -> Any:
    return pa.RecordBatch.from_arrays([pc.binary_length(rows.column("text"))], names=["result"])


@columns
def columns_refuse_bad(rows: Any) -> Any:
    if any(text.startswith("bad") for text in rows.column("text").to_pylist()):
        raise ValueError("a bad row")
    return column_lengths(rows)


@columns
def columns_crash_on_bad(rows: Any) -> Any:
    if any(text.startswith("bad") for text in rows.column("text").to_pylist()):
        os.kill(os.getpid(), signal.SIGSEGV)
    return column_lengths(rows)


def echoes(batch: Sequence[Item]) -> list[Any]:
    return [item.text for item in batch]


def fails_in_pod_a(batch: Sequence[Item]) -> list[Any]:
    if os.environ.get("POD") == "a":
        return [ValueError("odd") if item.id.endswith("7") else 1 for item in batch]
    return length(batch)


def refuses_bad_slowly(batch: Sequence[Item]) -> list[Any]:
    time.sleep(float(os.environ.get("PACE_SECONDS", "0.01")) * len(batch))
    return refuses_bad(batch)


def chaotic(batch: Sequence[Item]) -> list[Any]:
    """Refuses some rows. Others end its process, and some the whole pod."""
    time.sleep(float(os.environ.get("PACE_SECONDS", "0.01")) * len(batch))
    for item in batch:
        if item.payload.startswith(b"end"):
            os.kill(os.getpid(), signal.SIGKILL)
        if item.payload.startswith(b"pod"):
            os.killpg(0, signal.SIGKILL)
    if any(item.payload.startswith(b"bad") for item in batch):
        raise ValueError("a bad row")
    return [{"size": len(item.payload), "text": item.text} for item in batch]


@columns
def echo_columns(rows: Any) -> Any:
    return rows
