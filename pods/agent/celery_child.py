"""The user's own Celery worker: `python -m pods.agent.celery_child FD APP ARGUMENT…`.

The user's app is not changed: it runs as `celery -A APP worker …` would. A thread reports to the
agent what the worker does, and ends the worker when the agent is gone.
"""

import json
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pods.agent import masking

TELL_SECONDS = 0.25
EXIT_BROKEN = 3
LENGTH = struct.Struct("!Q")


def main() -> None:
    """Find the app, or report that there is none. Then run its worker until a signal ends it."""
    link = socket.socket(fileno=int(sys.argv[1]))
    masking.hide_in_output()
    _take_secrets(link)  # before anything of the user's is imported
    try:
        # Celery comes from the user's image. The agent does not need it.
        # gevent and eventlet replace parts of the standard library. As in the command `celery`, that
        # comes first: the user's modules must not import the blocking parts before.
        import_module("celery").maybe_patch_concurrency(sys.argv[3:])
        link = socket.socket(
            fileno=link.detach()
        )  # of the class that does not block, if it has changed
        app: Any = import_module("celery.app.utils").find_app(sys.argv[2])
        state = import_module("celery.worker.state")
        signals = import_module("celery.signals")
    except BaseException as exc:  # noqa: BLE001 - also SystemExit: the agent must hear why
        _say(link, {"broken": f"{type(exc).__name__}: {exc}"})
        sys.exit(EXIT_BROKEN)
    ready = threading.Event()
    signals.worker_ready.connect(lambda **_: ready.set(), weak=False)
    # what was done since the last report, before a worker with other secrets begins
    signals.worker_shutdown.connect(lambda **_: _report(link, state, ready), weak=False)
    threading.Thread(target=_tell, args=(link, state, ready), daemon=True).start()
    app.worker_main(sys.argv[3:])


def send_secrets(link: socket.socket, values: Mapping[str, str]) -> None:
    """Give a new worker the fleet's secrets.

    Raises:
        OSError: it has ended.
    """
    said = json.dumps(dict(values)).encode()
    link.sendall(LENGTH.pack(len(said)) + said)


def _take_secrets(link: socket.socket) -> None:
    head = link.recv(LENGTH.size, socket.MSG_WAITALL)
    if len(head) < LENGTH.size:
        os._exit(0)  # the agent is gone
    values = json.loads(link.recv(LENGTH.unpack(head)[0], socket.MSG_WAITALL))
    masking.know(values)
    os.environ.update(values)


def _tell(link: socket.socket, state: Any, ready: threading.Event) -> None:
    """Report the tasks in hand and done, as the worker's main process counts them."""
    link.settimeout(TELL_SECONDS)
    while True:
        try:
            _report(link, state, ready)
            gone = link.recv(1) == b""
        except TimeoutError:
            continue
        except OSError:
            gone = True
        if gone:
            # A cold shutdown, because nobody waits for a warm one any more.
            os.kill(os.getpid(), signal.SIGQUIT)
            return


def _report(link: socket.socket, state: Any, ready: threading.Event) -> None:
    done = state.all_total_count[0] - len(state.active_requests)
    said = {"ready": ready.is_set(), "done": done, "in_hand": len(state.reserved_requests)}
    said["active"] = len(state.active_requests)
    _say(link, said)


def _say(link: socket.socket, message: Any) -> None:
    link.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
