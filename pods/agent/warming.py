"""Fetches the model of `--model` from the Hugging Face hub, before the handler starts.

`warm` runs in the bootstrap, so it uses the standard library alone. `main` runs in the environment of
the code, which has the hub's library or not.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pods.agent.start import Failed

# Other names (a folder, "large-v3-turbo") mean something to one library alone, which fetches it itself.
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MODEL, LIMIT = "HANDLER_MODEL", "HANDLER_MODEL_SECONDS"
DEFAULT_SECONDS = 1_800.0
STALLED_SECONDS = 120.0
ASK_SECONDS = 15.0
PROGRESS = re.compile(r"podfleet-model ([0-9]+) ([0-9]+)")
EXIT_NO_LIBRARY = 3
LONGEST_REASON = 400
MB = 1_000_000
# The same weights in formats that our handlers do not load.
OTHER_FORMATS = {".h5", ".msgpack", ".ot", ".tflite", ".onnx", ".onnx_data", ".gguf", ".mlmodel"}
OTHER_FOLDERS = {"onnx", "openvino", "coreml", "original", "flax", "gguf"}
OLD_FORMATS = {".bin", ".pt", ".pth"}


class Steps(Protocol):
    """What hears how it goes: bootstrap.py."""

    note: str
    child: "subprocess.Popen[str] | None"

    def say(self, note: str) -> None:
        """Report this from now on."""


def warm(
    python: str, cache: str, env: Mapping[str, str], secrets: Mapping[str, str], steps: Steps
) -> None:
    """Fetch the fleet's model once for this disk. Nothing to do where it names none of the hub.

    Raises:
        Failed: it cannot be fetched; the message says why.
    """
    name = env.get(MODEL, "").strip()
    if not NAME.fullmatch(name) or Path(name).exists():
        return
    hub = {n: value for n, value in secrets.items() if n.startswith("HF_")}
    given = {**env, **hub, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    parts = [name, python, given.get("HF_HOME"), given.get("HF_ENDPOINT")]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    done = Path(cache) / "fetched" / digest
    done.parent.mkdir(parents=True, exist_ok=True)
    steps.say(f"fetching model {name}")
    with done.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another pod of this machine may fetch it now
        if done.exists():
            return
        if _fetched(name, python, given, steps):
            done.touch()


def _fetched(name: str, python: str, env: Mapping[str, str], steps: Steps) -> bool:
    """Whether the model is there now; False: this environment does not use the hub.

    Raises:
        Failed: it cannot be fetched.
    """
    limit = float(env.get(LIMIT) or DEFAULT_SECONDS)
    began, last = time.monotonic(), ""
    child = subprocess.Popen(
        [python, "-m", "pods.agent.warming", name],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    steps.child = child
    timer = threading.Timer(limit, child.kill)
    timer.daemon = True
    timer.start()
    assert child.stdout is not None
    for printed in child.stdout:
        line = printed.strip()
        found = PROGRESS.fullmatch(line)
        if found:
            steps.note = f"fetching model {name}, {_mb(found[1])} of {_mb(found[2])} MB"
        elif line:
            last = line
            print(line, flush=True)  # noqa: T201
    status = child.wait()
    timer.cancel()
    if status in {0, EXIT_NO_LIBRARY}:
        return status == 0
    if time.monotonic() - began >= limit:
        last = f"not there after {limit:g} s ({steps.note}); raise {LIMIT} in handler_env"
    why = last or f"its process ended with {status}"
    raise Failed(f"the model {name} cannot be fetched: {why}"[:LONGEST_REASON])


def _mb(size: "int | str") -> str:
    return f"{int(size) // MB:,}"


def chosen(names: Sequence[str], *, wanted: Sequence[str] = ()) -> "list[str]":
    """The files of a model that are fetched: those of `wanted`, else one format of the weights."""
    if wanted:
        return [name for name in names if any(fnmatch(name, one) for one in wanted)]
    safe = {str(PurePosixPath(name).parent) for name in names if name.endswith(".safetensors")}
    return [name for name in names if not _is_other(name, safe)]


def _is_other(name: str, safe: "set[str]") -> bool:
    path = PurePosixPath(name)
    ending = path.suffix
    if path.parts[0] in OTHER_FOLDERS or ending in OTHER_FORMATS:
        return True
    return ending in OLD_FORMATS and str(path.parent) in safe


def _has(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _wanted() -> Sequence[str]:
    """The patterns of the ONNX handler, if this environment is made for it; else ()."""
    onnx = _has("onnxruntime") or _has("onnxruntime-gpu")
    if not onnx or _has("sentence-transformers") or _has("faster-whisper"):
        return ()
    found: Sequence[str] = import_module("pods.agent.handlers.onnx").WANTED
    return found


def main(name: str) -> int:
    """Fetch the model; print how far it is, and at the end why it failed. Returns the exit status."""
    try:
        hub = import_module("huggingface_hub")
    except ImportError:
        return EXIT_NO_LIBRARY
    try:
        _fetch(hub, name)
    except Exception as exc:  # noqa: BLE001 - the operator must hear why, whatever it is
        print(_why(hub, name, exc), flush=True)  # noqa: T201
        return 1
    return 0


def _fetch(hub: Any, name: str) -> None:
    """Fetch what is missing of the model.

    Raises:
        Exception: what the hub's library raises; OSError without room on the disk.
    """
    try:
        files = hub.HfApi().model_info(name, files_metadata=True, timeout=ASK_SECONDS).siblings
    except Exception:
        if not _is_here(hub, name):
            raise
        return  # the hub is away, and the disk has it
    sizes = {one.rfilename: one.size or 0 for one in files}
    names = chosen(list(sizes), wanted=_wanted())
    total = sum(sizes[one] for one in names)
    cache = Path(hub.constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    blobs = cache / ("models--" + name.replace("/", "--")) / "blobs"
    missing, free = total - _size_of(blobs), shutil.disk_usage(cache).free
    if missing > free:
        text = f"{_mb(missing)} MB are missing, and the disk has {_mb(free)} MB"
        raise OSError(errno.ENOSPC, text)
    threading.Thread(target=_tell, args=(blobs, total), daemon=True).start()
    hub.snapshot_download(name, allow_patterns=names, etag_timeout=ASK_SECONDS)


def _is_here(hub: Any, name: str) -> bool:
    """Whether the disk has the model, all that was asked for."""
    folder = Path(hub.constants.HF_HUB_CACHE) / ("models--" + name.replace("/", "--"))
    try:
        commit = (folder / "refs" / "main").read_text().strip()
    except OSError:
        return False
    whole = not any((folder / "blobs").glob("*.incomplete"))
    return whole and (folder / "snapshots" / commit).is_dir()


def _size_of(blobs: Path) -> int:
    try:
        return sum(file.stat().st_size for file in blobs.iterdir())
    except OSError:  # not there yet, or a file was renamed meanwhile
        return 0


def _tell(blobs: Path, total: int) -> None:
    """Print how much is there, each second. The process ends if nothing comes any more."""
    size, moved = -1, time.monotonic()
    while True:
        now = _size_of(blobs)
        if now != size:
            size, moved = now, time.monotonic()
        print(f"podfleet-model {min(size, total)} {total}", flush=True)  # noqa: T201
        if time.monotonic() - moved > STALLED_SECONDS:
            print(f"nothing came for {STALLED_SECONDS:g} s", flush=True)  # noqa: T201
            os._exit(1)
        time.sleep(1)


def _why(hub: Any, name: str, exc: Exception) -> str:
    """One line that says what was wrong and what would be right."""
    errors, token = hub.errors, "HF_TOKEN" if "HF_TOKEN" in os.environ else ""
    if isinstance(exc, errors.GatedRepoError):
        mend = "ask for access on its page with the user of HF_TOKEN"
        return f"its owner must allow it; {mend if token else 'set the secret HF_TOKEN'}"
    if isinstance(exc, errors.RepositoryNotFoundError):
        mend = "HF_TOKEN may not read it" if token else "it is private: set the secret HF_TOKEN"
        return f"the hub has no such model, or {mend}"
    if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
        return f"the disk is full: {exc.strerror}; give the pods a larger disk"
    said = " ".join(str(exc).split())
    return f"{type(exc).__name__}: {said}" if said else type(exc).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
