"""An account on this machine for the tests of the provider `local`."""

import os
import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from pods.providers.base import Machine, Phase, PodSpec, Provider
from pods.providers.local import connect
from pods.providers.local.processes import MARK
from tests.support import reaper
from tests.support.programs import FOLDER
from tests.support.rigs.subject import a_moment
from tests.support.waiting import until

TAG = "pf-a"
STAND_IN = Path(__file__).with_name("stand_in.sh")
# Programs of a machine that never ends by itself.
SLEEP, DEAF = (), ("--deaf",)


def a_spec(
    token: str, *, tag: str = TAG, program: str | Sequence[str] | None = None, **changes: Any
) -> PodSpec:
    """The spec of a machine that sleeps or runs a program; its account's Python is STAND_IN.

    The program is a line of Python, or the arguments of `machine.py`.
    """
    facts: dict[str, Any] = {"offer_key": "local", **changes}
    # By this mark the reaper ends the machines of a killed test run.
    mark = {reaper.MARK: os.environ[reaper.MARK]} if reaper.MARK in os.environ else {}
    runs = {} if program is None else {"STAND_IN_COMMAND": shlex.join(_command(program))}
    facts["env"] = {**mark, **runs, **changes.get("env", {})}
    return PodSpec(name=f"{tag}-{token}", tag=tag, **facts)


def _command(program: str | Sequence[str]) -> list[str]:
    python = [sys.executable, "-S", "-u"]
    if isinstance(program, str):
        return [*python, "-c", program]
    return [*python, str(FOLDER / "machine.py"), *program]


class LocalSubject:
    """An account whose machines sleep, in a folder of their own."""

    secret = ""
    unknown_id = "local-nobody"
    one_token_is_one_machine = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.provider = self.reconnected()

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        return a_spec(token, tag=tag, **changes)

    def reconnected(self, **options: Any) -> Provider:
        return connect(options={**self.options(), **options}, secret=None)

    def options(self) -> dict[str, Any]:
        """The options in the account's row."""
        return {"root": str(self.root), "python": str(STAND_IN)}

    def living(self) -> Collection[str]:
        return [f"local-{f.parent.name}" for f in self.root.glob("*/machine.json")]

    def sent(self) -> int:
        return 0

    def let_pass(self, seconds: float) -> None:
        a_moment(seconds)

    def create(self, token: str = "t1", **changes: Any) -> Machine:
        return self.provider.create(a_spec(token, **changes), token=token)

    def running(self, token: str = "t1", **changes: Any) -> Machine:
        """Create a machine and wait until it runs, and until its program, if it has one, is ready."""
        machine = self.create(token, **changes)
        self.reaches(machine, Phase.RUNNING)
        if changes.get("program") is not None:
            until(lambda: "ready" in self.provider.logs(machine.external_id))
        return machine

    def reaches(self, machine: Machine, phase: Phase) -> Machine:
        status = self.provider.status
        until(lambda: status(machine.external_id).phase is phase)
        return status(machine.external_id)

    def folder(self, token: str = "t1") -> Path:
        return self.root / token

    def pid(self, token: str = "t1") -> int:
        """The pid of the machine's first process."""
        return int((self.folder(token) / "pid").read_text().split()[0])

    def processes(self, token: str = "") -> list[psutil.Process]:
        """The processes of this account or of one machine, found among all of the computer."""
        return list(marked(self.folder(token) if token else self.root))

    def leaders(self, token: str = "t1") -> list[psutil.Process]:
        """The processes of the commands that were started for a machine."""
        return [p for p in self.processes(token) if _leads(p)]


def marked(folder: Path) -> Iterator[psutil.Process]:
    """The processes whose mark is this folder or a folder in it."""
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            mark = process.environ().get(MARK, "")
        except (psutil.Error, OSError):
            continue
        if mark == str(folder) or mark.startswith(f"{folder}/"):
            yield process


def _leads(process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False


@contextmanager
def a_local_account(folder: Path) -> Iterator[LocalSubject]:
    """An account; at the end of the test the provider destroys its machines."""
    subject = LocalSubject(folder / "pods")
    yield subject
    for external_id in subject.living():
        subject.provider.destroy(external_id)
    until(lambda: not subject.processes())
