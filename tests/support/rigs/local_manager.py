"""A manager process for the tests of the provider `local`, which can be killed at a given line of code.

It reads orders from its standard input, one line of JSON each. It runs each order in a fork, and
answers with one line. `kill_at` is the line of the provider's code at which the fork is killed
(`[file, number]`). If `watch` is true, the answer has all lines that ran. `launcher` is the interpreter
that starts commands.

Run as `python -m tests.support.rigs.local_manager`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from pods.providers import local
from pods.providers.base import PodSpec
from pods.providers.errors import ProviderError

CODE = Path(local.__file__).parent
ROOT = Path(__file__).parents[3]
Line = tuple[str, int]


class Manager:
    """Starts the process and sends it orders; a context manager."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.rigs.local_manager"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Manager":
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            process.kill()

    def does(self, verb: str, *args: Any, **more: Any) -> dict[str, Any]:
        """Send one order; the answer has `result`, `error` or `killed`."""
        order = {"verb": verb, "args": args, "options": self._options, **more}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def creates(self, spec: PodSpec, token: str, **more: Any) -> dict[str, Any]:
        """Create a machine."""
        facts = {"name": spec.name, "tag": spec.tag}
        return self.does("create", facts | {"env": dict(spec.env)}, token, **more)

    def lines_of(self, verb: str, *args: Any) -> Sequence[Line]:
        """The lines of the provider's code that a verb runs, each once."""
        return [(file, number) for file, number in self.does(verb, *args, watch=True)["lines"]]


def _trace(met: Callable[[Line], None]) -> None:
    def of_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            met((Path(frame.f_code.co_filename).name, frame.f_lineno))
        return of_line

    def of_call(frame: FrameType, _: str, __: Any) -> Any:
        return of_line if Path(frame.f_code.co_filename).parent == CODE else None

    sys.settrace(of_call)


def _carry_out(order: Mapping[str, Any]) -> dict[str, Any]:
    provider = local.connect(options=order["options"], secret=None)
    sys.executable = order.get("launcher", sys.executable)
    lines: dict[Line, None] = {}
    deadly = tuple(order["kill_at"]) if order.get("kill_at") else None

    def met(line: Line) -> None:
        if line == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        lines.setdefault(line)

    if deadly or order.get("watch"):
        _trace(met)
    try:
        if order["verb"] == "create":
            facts, token = order["args"]
            result: Any = provider.create(PodSpec(**facts), token=token).external_id
        else:
            result = getattr(provider, order["verb"])(*order["args"])
            result = [m.external_id for m in result] if isinstance(result, list) else None
    except ProviderError as exc:
        return {"error": type(exc).__name__, "said": str(exc)}
    finally:
        sys.settrace(None)
    return {"result": result, "lines": list(lines)}


def _serve() -> None:
    for line in sys.stdin:
        told, tell = os.pipe()
        child = os.fork()
        if not child:
            os.write(tell, json.dumps(_carry_out(json.loads(line))).encode())
            os._exit(0)
        os.close(tell)
        with os.fdopen(told) as answer:
            said = answer.read()
        _, status = os.waitpid(child, 0)
        print(said or json.dumps({"killed": os.WIFSIGNALED(status)}), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve()
