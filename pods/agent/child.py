"""The process in which the handler runs.

Its command is `python -m pods.agent.child FD BEGUN_FD RING_FD HANDLER KIND MOST`. RING_FD is -1
without a ring. MOST is the largest number of items in one call of the handler; 0: as the
handler says.

It does not know Redis. It gets batches over one socket, and answers with the outcome of each item.
If it hangs, crashes or uses up all memory, the agent's heartbeat still goes on.
"""

import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Union

from pods.agent import masking
from pods.agent.batch_counter import BatchCounter
from pods.agent.calling import Caller, Failed, HandlerNotFound, Outcome, find
from pods.agent.forming import Limits
from pods.agent.handlers import Fields, Item
from pods.agent.link import Aside, Link
from pods.agent.protocol import DATASET
from pods.agent.ring import RingWriter

# The first frame has the fleet's secrets, by the names of variables. A later frame of this kind changes
# them, with None for one that is gone. A load is a list of batches, and a batch is a list of (entry,
# fields). The first answer is a list of the batch size that the handler prefers, whether it takes
# columns, whether it hears of other secrets, and for how many calls it wants items at once; or (error,
# traceback) where it cannot work. Then comes what fits into the GPU's memory: (items, cost). Each later
# answer is (batches, seconds of work, outcomes, what was found to fit: (items, cost) or None). An
# outcome is bytes or (error, traceback, final). A large value is replaced by its number, or by where it
# is in the ring: (start, size).
Fits = tuple[int, float]
Load = Union[Sequence[Sequence[Item]], dict[str, Union[str, None]], Fits]
BYE = None
EXIT_AFTER_SECRETS = 1
_HIDDEN: "dict[str, Union[str, None]]" = {}  # what secrets replace in the process's environment
# Quick batches are reported together. After this time the outcomes so far are reported at once.
LONGEST_SILENCE_SECONDS = 0.005


def main() -> None:
    """Load the handler and report it. Then answer batches until the agent ends it or is gone."""
    fd, begun_fd, ring_fd = map(int, sys.argv[1:4])
    name, kind, most_items = sys.argv[4], sys.argv[5], int(sys.argv[6])
    # the agent handles Ctrl-C and a SIGTERM to the group: it drains first
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    link, begun = Link(socket.socket(fileno=fd)), BatchCounter(begun_fd)
    ring = None if ring_fd < 0 else RingWriter(ring_fd)
    masking.hide_in_output()
    try:
        _put(link.receive()[0])  # before the handler is imported
    except (EOFError, OSError):
        os._exit(0)
    loads: queue.SimpleQueue[Union[Load, None]] = queue.SimpleQueue()
    threading.Thread(target=_read_ahead, args=(link, loads), daemon=True).start()
    try:
        caller = _caller(find(name), name, kind, most_items)
        caller.setup()
    except BaseException as exc:  # noqa: BLE001 - also SystemExit: the agent must hear why
        failed = Failed.of(exc)
        link.send((failed.error, failed.traceback))
        sys.exit(1)
    link.send(
        [caller.batch_size, caller.takes_columns, caller.hears_of_secrets, caller.calls_ahead]
    )
    answer = Answering(link, ring)
    # a load has no name here, so that its payloads are freed while the next one is awaited
    while _work_off(loads.get(), caller, answer, begun):
        pass
    caller.teardown()


def _put(secrets: "dict[str, Union[str, None]]") -> None:
    """Write the secrets into the environment of this process. One that is gone hides no variable."""
    now = {name: value for name, value in secrets.items() if value is not None}
    masking.know(now)
    for name in now.keys() - _HIDDEN.keys():
        _HIDDEN[name] = os.environ.get(name)
    os.environ.update(now)
    for name in secrets.keys() - now.keys():
        os.environ.pop(name, None)
        if (before := _HIDDEN.pop(name, None)) is not None:
            os.environ[name] = before


def _change(secrets: "dict[str, Union[str, None]]", caller: Caller) -> None:
    """Change the secrets. A handler that cannot take that gets a process of its own."""
    _put(secrets)
    try:
        caller.secrets_changed()
    except Exception as exc:  # noqa: BLE001 - the user's code may raise anything
        sys.stderr.write(f"secrets_changed failed: {Failed.of(exc).traceback}\n")
        sys.stderr.flush()
        os._exit(EXIT_AFTER_SECRETS)


def _caller(handler: Any, name: str, kind: str, most_items: int) -> Caller:
    """What calls this handler. Only datasets need the modules that pyarrow needs."""
    takes_columns = bool(getattr(handler, "takes_columns", False))
    if kind != DATASET:
        if takes_columns:
            raise HandlerNotFound(f"{name} takes columns; only a dataset has them")
        return Caller(handler, most_items=most_items)
    if takes_columns:
        made: Caller = import_module("pods.agent.dataset.columns").ColumnsCaller(handler)
        return made
    packed = import_module("pods.agent.dataset.values").packed
    return Caller(handler, packed, most_items=most_items)


class Answering:
    """What is told to the agent of the batches that were worked on since the last frame."""

    def __init__(self, link: Link, ring: Union[RingWriter, None]) -> None:
        self._link, self._ring = link, ring
        self._aside, self._said = Aside(), list[Any]()

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Take in the outcomes of a batch. The handler may use their memory again after this."""
        self._said += [self._kept(outcome) for outcome in outcomes]

    def _kept(self, outcome: Any) -> Any:
        if isinstance(outcome, Failed):
            return outcome.error, outcome.traceback, outcome.final
        if not hasattr(outcome, "write"):
            return self._aside.put(outcome)
        placed = None if self._ring is None else self._ring.put(outcome)
        return self._aside.put(outcome.packed()) if placed is None else placed

    def send(self, batches: int, seconds: float, found: Union[Limits, None]) -> None:
        """Send what was kept, and what was found to fit into the GPU's memory."""
        fits = None if found is None else (found.items, found.cost)
        self._link.send((batches, seconds, self._said, fits), self._aside.values)
        self._aside, self._said = Aside(), []


def _work_off(
    load: Union[Load, None], caller: Caller, answer: Answering, begun: BatchCounter
) -> bool:
    """Report the outcome of each item. False at the end."""
    if load is BYE:
        return False
    if isinstance(load, dict):
        _change(load, caller)
        return True
    if isinstance(load, tuple):
        caller.take_over(Limits(*load))
        return True
    batches, seconds = 0, 0.0
    for nth, batch in enumerate(load, start=1):
        begun.count()
        began = time.monotonic()
        outcomes = caller(batch)
        seconds += time.monotonic() - began  # not the time in which the agent has no room
        answer.keep(outcomes)
        batches += 1
        if nth == len(load) or seconds > LONGEST_SILENCE_SECONDS:
            answer.send(batches, seconds, caller.newly_found())
            batches, seconds = 0, 0.0
    return True


def _read_ahead(link: Link, loads: "queue.SimpleQueue[Union[Load, None]]") -> None:
    """Take batches from the socket while the handler works. End at once when the agent is gone."""
    try:
        while True:
            frame, large = link.receive()
            if frame is BYE:
                break
            is_load = isinstance(frame, list)
            loads.put([_items(batch, large) for batch in frame] if is_load else frame)
            del frame, large
    except (EOFError, OSError):
        os._exit(0)
    loads.put(None)


def _items(batch: Sequence[tuple[str, dict[bytes, Any]]], large: Sequence[bytes]) -> list[Item]:
    """The items of a batch, with their large values in place."""
    if large:
        for _, fields in batch:
            for name, value in fields.items():
                if isinstance(value, int):
                    fields[name] = large[value]
    return [Item(entry, Fields(fields)) for entry, fields in batch]


if __name__ == "__main__":
    main()
