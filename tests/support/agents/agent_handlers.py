"""Handlers for the agents under test: working ones, and each kind of broken one."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pods.agent.handlers import Item, Result, each


def upper(batch: Sequence[Item]) -> Sequence[bytes]:
    return [item.payload.upper() for item in batch]


def needs_a_field(batch: Sequence[Item]) -> Sequence[bytes]:
    return [item.fields[b"language"] for item in batch]


def refuses_poison(batch: Sequence[Item]) -> Sequence[bytes]:
    if any(item.payload == b"poison" for item in batch):
        raise ValueError("a poison item")
    return upper(batch)


def needs_a_gpu(batch: Sequence[Item]) -> Sequence[bytes]:
    """Fail everything on a pod whose GPU is lost; elsewhere take 0.02 s for an item."""
    if os.environ.get("GPU") == "lost":
        raise RuntimeError("no CUDA-capable device is detected")
    time.sleep(0.02 * len(batch))
    return upper(batch)


def lives_dangerously(batch: Sequence[Item]) -> Sequence[bytes]:
    """Take 0.1 s for a batch; fail it on a pod without a GPU; end the pod at an item `killer`."""
    if os.environ.get("GPU") == "lost":
        raise RuntimeError("no CUDA-capable device is detected")
    time.sleep(0.1)
    if any(item.payload == b"killer" for item in batch):
        os.killpg(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    return refuses_poison(batch)


def crashes_on_poison(batch: Sequence[Item]) -> Sequence[bytes]:
    if any(item.payload == b"poison" for item in batch):
        os.kill(os.getpid(), signal.SIGSEGV)
    return upper(batch)


def kills_its_pod_on_poison(batch: Sequence[Item]) -> Sequence[bytes]:
    """End as a machine without memory does: the agent dies too."""
    if any(item.payload == b"poison" for item in batch):
        os.killpg(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    return upper(batch)


def crashes_on_poison_but_for_its_fork(batch: Sequence[Item]) -> Sequence[bytes]:
    """Crash while a forked child lives on, like the workers of a training-data loader."""
    if any(item.payload == b"poison" for item in batch) and os.fork() == 0:
        time.sleep(3600)
    return crashes_on_poison(batch)


def hangs_on_poison(batch: Sequence[Item]) -> Sequence[bytes]:
    if any(item.payload == b"poison" for item in batch):
        time.sleep(3600)
    return upper(batch)


def takes_its_time(batch: Sequence[Item]) -> Sequence[bytes]:
    """Take as many seconds as the first payload says."""
    time.sleep(float(batch[0].payload))
    return upper(batch)


def waits_for_a_file(batch: Sequence[Item]) -> Sequence[bytes]:
    """Wait until the file named by GATE exists."""
    while not Path(os.environ["GATE"]).exists():
        time.sleep(0.01)
    return upper(batch)


def waits_at_a_gate(batch: Sequence[Item]) -> Sequence[bytes]:
    """Wait at the item `gate` until the file named by GATE exists."""
    return waits_for_a_file(batch) if batch[0].payload == b"gate" else upper(batch)


def needs_a_service(batch: Sequence[Item]) -> Sequence[bytes]:
    """Fail until the file named by GATE exists, as when a service is away that all pods need."""
    if not Path(os.environ["GATE"]).exists():
        raise ConnectionError("the service is away")
    return upper(batch)


def says_its_pod(batch: Sequence[Item]) -> Sequence[str]:
    """Return the pod's name; take `SECONDS_AN_ITEM` for each item."""
    time.sleep(float(os.environ["SECONDS_AN_ITEM"]) * len(batch))
    return [os.environ["PODFLEET_POD"]] * len(batch)


def says_its_size(batch: Sequence[Item]) -> Sequence[str]:
    """Return the batch size; take `SECONDS_A_CALL`, and `SECONDS_AN_ITEM` for each item."""
    call, item = (float(os.environ.get(f"SECONDS_{n}", "0")) for n in ("A_CALL", "AN_ITEM"))
    time.sleep(call + item * len(batch))
    return [str(len(batch))] * len(batch)


@each
async def one_by_one(item: Item) -> Result:
    await asyncio.sleep(0)
    if item.payload == b"poison":
        raise ValueError("a poison item")
    return {"id": item.id, "bytes": len(item.payload)}


def fails_in_no_known_letters(batch: Sequence[Item]) -> Sequence[Result]:
    return [ValueError("\udcff")] * len(batch)


class Broken:
    def setup(self) -> None:
        raise RuntimeError("no GPU here")

    def __call__(self, batch: Sequence[Item]) -> Sequence[Result]:
        raise NotImplementedError


class OutOfMemoryError(RuntimeError):
    """As torch's, by name."""


class HasLittleMemory:
    """Knows the cost of items; returns the sizes in its call; fails a call that costs more than 400."""

    def cost(self, item: Item) -> float:
        return float(item.payload)

    def __call__(self, batch: Sequence[Item]) -> Sequence[Result]:
        costs = [self.cost(item) for item in batch]
        time.sleep(0.02)
        if len(batch) * max(costs) > 400:
            raise OutOfMemoryError("CUDA out of memory")
        return [{"longest": max(costs), "shortest": min(costs), "items": len(batch)}] * len(batch)


class HasRoomForFour:
    """Notes the size of each call in CALLS_FILE; with ENDS_AFTER_HALVING it ends its agent then."""

    batch_size = 16

    def __init__(self) -> None:
        self._failed = False

    def __call__(self, batch: Sequence[Item]) -> Sequence[Result]:
        if self._failed and "ENDS_AFTER_HALVING" in os.environ:
            os.killpg(os.getppid(), signal.SIGKILL)
        self._failed = len(batch) > 4
        calls = Path(os.environ["CALLS_FILE"])
        crashes = batch[0].payload == b"crash" and "crashed" not in calls.read_text()
        with calls.open("a") as file:
            file.write(f"{'crashed' if crashes else len(batch)}\n")
        if crashes:
            os._exit(9)
        if self._failed:
            raise OutOfMemoryError("CUDA out of memory")
        return [item.payload for item in batch]
