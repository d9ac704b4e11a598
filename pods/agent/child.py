"""The process in which the handler runs: `python -m pods.agent.child FD HANDLER`.

It knows nothing of Redis. Over one socket it gets batches and answers with what each item came
to; what it does wrong (hang, crash, eat all memory) does not reach the agent's heartbeat.
"""

import os
import pickle
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any, Union

from pods.agent.calling import Caller, Failed, Outcome, find
from pods.agent.handlers import Item

# On the socket an item is (entry, fields), an outcome as in `calling`; a first answer tells the
# batch size that the handler prefers, or why it cannot work.
Batch = list[tuple[str, dict[bytes, bytes]]]
BYE = b""


def main() -> None:
    """Load the handler, say so, then answer batches until the agent says goodbye or is gone."""
    fd, name = int(sys.argv[1]), sys.argv[2]
    # a terminal's Ctrl-C and a group's SIGTERM are the agent's business: it drains first
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    link = Connection(fd)
    batches: queue.SimpleQueue[Union[Batch, None]] = queue.SimpleQueue()
    threading.Thread(target=_read_ahead, args=(link, batches), daemon=True).start()
    try:
        caller = Caller(find(name))
        caller.setup()
    except BaseException as exc:  # noqa: BLE001 - also SystemExit: the agent must hear why
        _say(link, Failed.of(exc))
        sys.exit(1)
    _say(link, caller.batch_size)
    while (batch := batches.get()) is not None:
        outcomes: list[Outcome] = caller([Item(e, f) for e, f in batch])
        _say(link, outcomes)
    caller.teardown()


def _read_ahead(link: Connection, batches: "queue.SimpleQueue[Union[Batch, None]]") -> None:
    """Take batches off the socket while the handler works; end with the agent, at once."""
    try:
        while (message := link.recv_bytes()) != BYE:
            batches.put(pickle.loads(message))  # noqa: S301 - from our own parent's socket
    except (EOFError, OSError):
        os._exit(0)
    batches.put(None)


def _say(link: Connection, message: Any) -> None:
    link.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))


if __name__ == "__main__":
    main()
