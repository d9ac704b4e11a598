"""Real agents that run instead of the containers of emulated machines."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[2]
# The variables that a container gets from our environment: never a secret of the manager.
PASSED_ON: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TZ",
    "PYTHONPATH",
    "OPENBLAS_CORETYPE",
)


class AgentProcesses:
    """Runs `python -m pods.agent` for each machine, and kills it with all that it started."""

    def __init__(self, folder: Path) -> None:
        """`folder` gets the logs of the agents."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: list[str] = []

    def start(self, machine_id: str, env: Mapping[str, str], command: Sequence[str]) -> None:
        """Start the machine's agent, or its command where it has one."""
        self.stop(machine_id)
        self.starts.append(machine_id)
        own = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        theirs = own.pop("PYTHONPATH", "")
        if not command:  # the image has the agent; a start command brings what it needs
            own["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), theirs]))
        with (self._folder / f"{machine_id}.log").open("ab") as printed:
            self._running[machine_id] = subprocess.Popen(
                list(command) or [sys.executable, "-m", "pods.agent"],
                cwd=self._folder if command else CHECKOUT,
                env={**own, "PYTHONUNBUFFERED": "1", **env},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, machine_id: str) -> None:
        """Kill it at once, as when a host is taken away."""
        process = self._running.pop(machine_id, None)
        if process is None:
            return
        # Kill the whole session, because a handler works in a process of its own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def running(self, machine_id: str) -> bool:
        """Whether its agent lives."""
        process = self._running.get(machine_id)
        return process is not None and process.poll() is None

    def pid(self, machine_id: str) -> int | None:
        """The pid of the agent. None where it does not live."""
        process = self._running.get(machine_id)
        return process.pid if process is not None and process.poll() is None else None

    def lines(self, machine_id: str) -> Sequence[str]:
        """The lines that it printed, over all its starts."""
        printed = self._folder / f"{machine_id}.log"
        return printed.read_text(errors="replace").splitlines() if printed.exists() else []

    def stop_all(self) -> None:
        """Kill every agent."""
        for machine_id in list(self._running):
            self.stop(machine_id)
