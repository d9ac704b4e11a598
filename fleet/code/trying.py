"""Tries a fleet's code on a few items in a child process, with the environment that a pod has."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings

import pods
from fleet.code.wheel import agent_wheel
from fleet.models import Fleet
from fleet.secrets import channel as secrets

OWN_HANDLERS: Final = "pods.agent.handlers."
INSTALL_SECONDS: Final = 1_800.0
LINES_KEPT: Final = 20
PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "CUDA_VISIBLE_DEVICES")
PREPARE: Final = (
    "import sys;sys.path.insert(0,sys.argv[1]);from pods.agent import trying;"
    "trying.prepare(sys.argv[2])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a try showed."""

    step: str  # how far it came: install, load, work or done
    wrong: Sequence[str]  # what would be wrong on a pod too, for people; empty: nothing
    warnings: Sequence[str] = ()
    load_seconds: float | None = None
    memory_mb: float | None = None  # the most that the handler's process had
    batches: Sequence[Mapping[str, Any]] = ()  # items and seconds
    results: Sequence[Mapping[str, Any]] = ()
    traceback: str = ""
    printed: Sequence[str] = field(default=())  # the last lines of the installation and the handler

    def as_json(self) -> dict[str, Any]:
        """The try as JSON values."""
        return {
            "ok": not self.wrong,
            "step": self.step,
            "wrong": list(self.wrong),
            "warnings": list(self.warnings),
            "load_seconds": self.load_seconds,
            "memory_mb": self.memory_mb,
            "batches": list(self.batches),
            "results": list(self.results),
            "traceback": self.traceback,
            "printed": list(self.printed),
        }


def try_code(
    fleet: Fleet, bundle: str, archive: bytes, handler: str, items: Sequence[Mapping[str, Any]]
) -> Tried:
    """Load the handler of this archive, and call it on these items (`entry` and `fields`).

    Raises:
        Unreadable: a secret of the fleet cannot be decrypted.
    """
    job = {**placed(bundle, archive), **_job(fleet, handler, items)}
    return _run(job, fleet, ["-c", PREPARE, job["wheel"]], {})


def placed(bundle: str, archive: bytes) -> dict[str, Any]:
    """Put the code and the agent's wheel where a child finds them; what a job says of that."""
    cache = settings.VAR_DIR / "code"
    wheel = agent_wheel()
    wheel_file = cache / "wheels" / wheel.digest / wheel.name
    _put(wheel_file, wheel.body)
    _put(cache / "code" / f"{bundle}.zip", archive)
    return {"cache": str(cache), "wheel": str(wheel_file), "bundle": bundle}


def try_own(fleet: Fleet, items: Sequence[Mapping[str, Any]]) -> Tried:
    """Call the fleet's handler, one of the agent's own package, in this Python. Local pods do so too.

    Raises:
        Unreadable: a secret of the fleet cannot be decrypted.
    """
    job = _job(fleet, fleet.handler, items)
    path = str(Path(pods.__file__).parent.parent)
    return _run(job, fleet, ["-m", "pods.agent.trying"], {"PYTHONPATH": path})


def _job(fleet: Fleet, handler: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "handler": handler,
        "batch_size": fleet.batch_size,
        "secrets": secrets.for_pods(fleet),
        "items": list(items),
    }


def _put(file: Path, body: bytes) -> None:
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{time.time_ns()}")
    draft.write_bytes(body)
    draft.replace(file)


def _run(
    job: dict[str, Any], fleet: Fleet, words: Sequence[str], variables: Mapping[str, str]
) -> Tried:
    """Run a program of the agent's package in a child; `words`: what Python gets before the job."""
    env = {**fleet.handler_env, **variables}
    seconds = INSTALL_SECONDS + fleet.handler_timeout_seconds
    child = in_child(job, words, env, seconds)
    if child.answer is None:
        why = (
            f"no end after {seconds:g} s"
            if child.status is None
            else f"its process ended with {child.status}"
        )
        reason = f"the handler gave no answer: {why}"
        return Tried(step="work", wrong=[reason], printed=child.printed)
    return tried_of(child.answer, child.printed, built="wheel" in job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What a child said, and how it ended. `status` is None: it was cut off."""

    answer: Mapping[str, Any] | None
    status: int | None
    printed: Sequence[str]


def in_child(
    job: Mapping[str, Any], words: Sequence[str], variables: Mapping[str, str], seconds: float
) -> Child:
    """Run a program of the agent's package in a child with these variables, for so long at most."""
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env |= {"PYTHONUNBUFFERED": "1", **variables}
    with tempfile.TemporaryDirectory(prefix="podfleet-check-") as folder:
        return _ended(Path(folder), job, [sys.executable, *words], env, seconds)


def _ended(
    folder: Path,
    job: Mapping[str, Any],
    command: Sequence[str],
    env: Mapping[str, str],
    seconds: float,
) -> Child:
    answer, printed = folder / "answer.json", folder / "printed"
    file = folder / "job.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({**job, "answer": str(answer)}))
    with printed.open("wb") as output:
        child = subprocess.Popen(
            [*command, str(file)],
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = child.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with suppress(ProcessLookupError):  # also what the handler started
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    lines = printed.read_text(errors="replace").splitlines()[-LINES_KEPT:]
    said = json.loads(answer.read_text()) if answer.exists() else None
    return Child(answer=said, status=status, printed=lines)


def _missing(module: str, *, built: bool) -> str:
    if module.startswith("pods."):  # no package to install brings it
        return f"the module {module} is missing: the agent of this version has none of that name"
    name = module.partition(".")[0]
    mend = "add its package to the dependencies" if built else f"install it for {sys.executable}"
    return f"the module {name} is missing; {mend}, unless your image has it"


def tried_of(said: Mapping[str, Any], printed: Sequence[str] = (), *, built: bool = True) -> Tried:
    """What the child's answer means. `built`: an environment was built for it."""
    wrong = []
    if said.get("missing"):
        wrong.append(_missing(said["missing"], built=built))
    elif said.get("error"):
        where = {"install": "", "load": "the handler cannot be loaded: "}.get(said["step"], "")
        wrong.append(f"{where}{said['error']}")
    results = said.get("results", [])
    failed = [r for r in results if "error" in r]
    if failed:
        wrong.append(f"{len(failed)} of {len(results)} items failed: {failed[0]['error']}")
    warnings = []
    if said.get("gpu") and not said["gpu"]["there"]:
        warnings.append("this machine has no GPU that torch can use; times on a pod differ")
    return Tried(
        step=said["step"],
        wrong=wrong,
        warnings=warnings,
        load_seconds=said.get("load_seconds"),
        memory_mb=said.get("memory_mb"),
        batches=said.get("batches", []) if len(failed) < len(results) else [],  # errors are quick
        results=results,
        traceback=said.get("traceback", "") or (failed[0].get("traceback", "") if failed else ""),
        printed=printed,
    )
