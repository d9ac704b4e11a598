"""Tries a handler on a few items without a fleet: what `fleet check` runs on the manager's machine.

`prepare` runs from the wheel. It builds an environment with what the code asks for and nothing else, so
that a missing requirement is seen here, and becomes `main` in it.
"""

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pods.agent import bootstrap, masking, python_needed
from pods.agent.calling import Caller, Failed, Outcome, find
from pods.agent.handlers import Fields, Item
from pods.agent.start import Failed as NotBuilt

LONGEST_SHOWN = 300  # characters of a result
MOST_LINES = 12  # of a traceback: the last ones
KB = 1024


def prepare(job_file: str) -> None:
    """Build the environment of a job's code, and become its check."""
    job = _read(job_file)
    try:
        code = bootstrap.unpacked(f"{job['cache']}/code/{job['bundle']}")
        bundle = bootstrap.read_bundle(code)
        if why := python_needed.why_not(bundle.get("python", ""), machine="this machine"):
            raise NotBuilt(why)
        env = bootstrap.for_installer(os.environ, job["secrets"])
        wants, steps = bundle["requirements"], bootstrap.Steps()
        own, others = bootstrap.of_wheel(wants, job["wheel"], [])
        if len(others) < len(wants):  # an extra of the agent's wheel
            wants = [own, *others]
        if job.get("import_alone") and wants and not _is_built(job["cache"], wants):
            job["built"] = False  # nothing is installed for it: this Python has what it has
            _write(job_file, job)
            python = sys.executable
        else:
            python = bootstrap.environment(job["cache"], "", wants, env, steps)
    except (NotBuilt, OSError, ValueError) as exc:
        _answer(job, {"step": "install", "error": str(exc)})
        return
    os.chdir(code)
    paths = [*bundle["paths"], job["wheel"]]
    variables = bootstrap.for_agent(python, code, paths, os.environ)
    program = [python, "-m", "pods.agent.trying", job_file]
    os.execve(python, program, dict(variables))  # noqa: S606


def _is_built(cache: str, wants: Sequence[str]) -> bool:
    return (Path(bootstrap.home_of(cache, "", wants)) / "ready").exists()


def _import_alone(job: Mapping[str, Any]) -> None:
    """Import the module of the handler, and look whether it has the handler."""
    module, _, attribute = job["handler"].partition(":")
    built = {"built": job.get("built", True)}
    absent = False
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            absent = not hasattr(found, part)
            found = getattr(found, part)
    except BaseException as exc:  # noqa: BLE001 - also SystemExit: the operator must hear why
        named = exc.name if isinstance(exc, ImportError) else None
        _answer(
            job,
            {"step": "load", **_failed(exc), "import_of": named, "absent": absent, **built},
        )
        return
    _answer(job, {"step": "done", **built})


def main() -> None:
    """Load the handler, call it on the items, and write the answer."""
    job = _read(sys.argv[1])
    # as the handler's process of an agent: no secret is in the environment that others can read
    masking.know(job["secrets"])
    masking.hide_in_output()
    os.environ.update(job["secrets"])
    if job.get("import_alone"):
        _import_alone(job)
        return
    began = time.monotonic()
    try:
        caller = Caller(find(job["handler"]))
        caller.setup()
    except BaseException as exc:  # noqa: BLE001 - also SystemExit: the operator must hear why
        _answer(job, {"step": "load", **_failed(exc)})
        return
    answer: "dict[str, Any]" = {"step": "done", "load_seconds": time.monotonic() - began}
    items = [_item(n, item) for n, item in enumerate(job["items"])]
    most = caller.batch_size or job["batch_size"]
    try:
        results, answer["batches"] = _worked(caller, items, most)
        caller.teardown()
    except BaseException as exc:  # noqa: BLE001 - the same
        _answer(job, {**answer, "step": "work", **_failed(exc), "memory_mb": _memory_mb()})
        return
    answer["results"] = [_shown(item, out) for item, out in zip(items, results, strict=True)]
    answer["memory_mb"] = _memory_mb()
    answer["gpu"] = _gpu()
    _answer(job, answer)


def sizes_up_to(most: int) -> Sequence[int]:
    """The batch sizes to time: 1, 4, 16, … and the largest."""
    found, size = [], 1
    while size < most:
        found.append(size)
        size *= 4
    return [*found, most] if most else []


def _worked(
    caller: Caller, items: Sequence[Item], most: int
) -> "tuple[Sequence[Outcome], Sequence[Mapping[str, Any]]]":
    """The outcome of each item, and the time of a batch of each size."""
    outcomes: "list[Outcome]" = []
    for start in range(0, len(items), most):
        outcomes += caller(items[start : start + most])  # this also warms it up
    batches = []
    for size in sizes_up_to(min(most, len(items))):
        began = time.monotonic()
        caller(items[:size])
        seconds = time.monotonic() - began
        batches.append({"items": size, "seconds": round(seconds, 6)})
    return outcomes, batches


def _item(number: int, item: Mapping[str, Any]) -> Item:
    fields = {n.encode(): v.encode("utf-8", "surrogateescape") for n, v in item["fields"].items()}
    return Item(item.get("entry") or f"0-{number + 1}", Fields(fields))


def _shown(item: Item, outcome: Outcome) -> "dict[str, Any]":
    if isinstance(outcome, Failed):
        lines = outcome.traceback.strip().splitlines()[-MOST_LINES:]
        return {"id": item.id, "error": outcome.error, "traceback": "\n".join(lines)}
    text = outcome.decode("utf-8", "replace")
    return {"id": item.id, "bytes": len(outcome), "result": text[:LONGEST_SHOWN]}


def _failed(exc: BaseException) -> "dict[str, Any]":
    said = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    lines = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__)).splitlines()
    said, lines = masking.hidden(said), [masking.hidden(line) for line in lines]
    missing = exc.name if isinstance(exc, ModuleNotFoundError) else None
    return {"error": said, "traceback": "\n".join(lines[-MOST_LINES:]), "missing": missing}


def _memory_mb() -> "float | None":
    """The most memory that this program had. `getrusage` would count what ran here before it."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            peak = next(line for line in file if line.startswith("VmHWM:"))
        return round(int(peak.split()[1]) / KB, 1)
    except (OSError, StopIteration):
        return None


def _gpu() -> "dict[str, Any] | None":
    """What the handler used of a GPU. None where it does not use torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    there = bool(torch.cuda.is_available())
    most = torch.cuda.max_memory_allocated() / KB / KB if there else None
    return {"there": there, "memory_mb": most}


def _read(file: str) -> "dict[str, Any]":
    with open(file, encoding="utf-8") as opened:
        job: "dict[str, Any]" = json.load(opened)
    return job


def _write(file: str, job: Mapping[str, Any]) -> None:
    with open(file, "w", encoding="utf-8") as opened:
        json.dump(job, opened)


def _answer(job: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    with open(job["answer"], "w", encoding="utf-8") as opened:
        json.dump(answer, opened)


if __name__ == "__main__":
    main()
