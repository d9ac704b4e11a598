"""The folder of a local machine: the record of what it should be, and the lock to change it."""

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pods.providers.errors import NotFound, Unavailable

LOCK_SECONDS: Final = 15.0  # a little more than a stop can take
LOCK: Final = ".lock"  # the root has one too; no token begins with a dot
_LOOK_AGAIN_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A machine as it should be. The pid file and the processes show what it is."""

    token: str
    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    created_at: datetime
    stopped: bool = False


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Turn an error of the disk into Unavailable, so that it is never read as an answer."""
    try:
        yield
    except OSError as exc:
        raise Unavailable(f"{path}: {exc.strerror or repr(exc)}") from exc


def exists(folder: Path) -> bool:
    """Whether a machine is recorded there. A folder without a record is what a crash left.

    Raises:
        Unavailable: the disk cannot be read.
    """
    with on_disk(folder):
        return (folder / "machine.json").exists()


def read(folder: Path) -> Recorded:
    """The machine that a folder records.

    Raises:
        NotFound: there is none.
        Unavailable: the record cannot be read, which does not mean that there is none.
    """
    try:
        return _recorded(json.loads((folder / "machine.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound(f"no machine in {folder.name}") from exc
    except (ValueError, TypeError, KeyError, OSError) as exc:
        raise Unavailable(f"{folder.name}/machine.json cannot be read: {exc!r}") from exc


def write(folder: Path, recorded: Recorded) -> None:
    """Record a machine, whole or not at all. No other user may read it: it has secrets.

    Raises:
        Unavailable: the disk cannot be written.
    """
    draft = folder / f"machine.{os.getpid()}.{threading.get_ident()}.draft"
    row = {**asdict(recorded), "created_at": recorded.created_at.isoformat()}
    with on_disk(folder):
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(row, file)
            file.flush()
            os.fsync(descriptor)
        draft.replace(folder / "machine.json")


@contextmanager
def locked(folder: Path, *, seconds: float = LOCK_SECONDS) -> Iterator[int | None]:
    """Hold a folder's lock. Yields its descriptor, or None where another process kept it.

    The kernel releases the lock of a process that was killed.

    Raises:
        NotFound: there is no such folder.
    """
    deadline = time.monotonic() + seconds
    while (descriptor := _try_lock(folder)) is None and time.monotonic() < deadline:
        threading.Event().wait(_LOOK_AGAIN_SECONDS)
    try:
        yield descriptor
    finally:
        # Close it, but do not unlock it: a launcher that shares it may still work.
        if descriptor is not None:
            os.close(descriptor)


def _try_lock(folder: Path) -> int | None:
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound(f"no machine in {folder.name}") from exc
    except OSError as exc:
        raise Unavailable(f"{path}: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except OSError:  # another process holds it, or the folder was removed meanwhile
        pass
    os.close(descriptor)
    return None


def _recorded(row: Any) -> Recorded:
    command, env, stopped = row["command"], row["env"], row["stopped"]
    if not (isinstance(command, list) and isinstance(env, dict) and isinstance(stopped, bool)):
        raise TypeError("a field has the wrong type")
    texts = [row["token"], row["name"], *command, *env.values()]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a word is not a text")
    created_at = datetime.fromisoformat(row["created_at"])
    return Recorded(**{**row, "created_at": created_at})
