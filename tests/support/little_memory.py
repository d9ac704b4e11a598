"""Handlers that have memory for so much, as on a GPU."""

import asyncio
from collections.abc import Sequence

from pods.agent.handlers import Fields, Item


class OutOfMemoryError(RuntimeError):
    """As torch's, by name."""


def items(*payloads: bytes) -> list[Item]:
    return [
        Item(entry=f"{n}-0", fields=Fields({b"payload": payload}))
        for n, payload in enumerate(payloads)
    ]


class Model:
    """Has memory for so much: items × bytes of the longest one."""

    def __init__(self, memory: int, error: type[Exception] = OutOfMemoryError) -> None:
        self.memory, self.error = memory, error
        self.calls: list[int] = []

    def __call__(self, batch: Sequence[Item]) -> list[bytes]:
        self.calls.append(len(batch))
        if len(batch) * max(len(item.payload) for item in batch) > self.memory:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB")
        if any(item.payload == b"bad" for item in batch):
            raise ValueError("a bad item")
        return [item.payload.upper() for item in batch]


class KnowsCosts(Model):
    def cost(self, item: Item) -> float:
        return len(item.payload)


class AtTheSameTime:
    """Has memory for so many items at a time."""

    takes_one_item = True

    def __init__(self, memory: int) -> None:
        self.memory, self.now = memory, 0
        self.most: list[int] = []

    async def __call__(self, item: Item) -> bytes:
        self.now += 1
        self.most.append(self.now)
        try:
            await asyncio.sleep(0)
            if self.now > self.memory or item.payload == b"large":
                raise OutOfMemoryError("CUDA out of memory")
            await asyncio.sleep(0)
        finally:
            self.now -= 1
        if item.payload == b"bad":
            raise ValueError("a bad item")
        return item.payload.upper()
