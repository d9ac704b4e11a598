"""The folder of a local machine: what it should be, on disk, and the lock of who acts on it."""

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

LOCK_SECONDS: Final = 15.0  # the longest that a stop takes, and some more
LOCK: Final = ".lock"  # the root has one too: no token begins with a dot
_LOOK_AGAIN_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A machine as it should be. What is, the pid file and the processes tell."""

    token: str
    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    created_at: datetime
    stopped: bool = False


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """What the disk will not do is Unavailable, and never an answer."""
    try:
        yield
    except OSError as exc:
        raise Unavailable(f"{path}: {exc.strerror or exc!r}") from exc


def exists(folder: Path) -> bool:
    """Whether a machine is recorded there. A folder alone is what a crash left, and no machine.

    Raises:
        Unavailable: the disk does not say.
    """
    with on_disk(folder):
        return (folder / "machine.json").exists()


def read(folder: Path) -> Recorded:
    """The machine that a folder records.

    Raises:
        NotFound: none.
        Unavailable: it cannot be read, which is not the same.
    """
    try:
        return _recorded(json.loads((folder / "machine.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound(f"no machine in {folder.name}") from exc
    except (ValueError, TypeError, KeyError, OSError) as exc:
        raise Unavailable(f"{folder.name}/machine.json cannot be read: {exc!r}") from exc


def write(folder: Path, recorded: Recorded) -> None:
    """Record a machine, whole or not at all, for no other user's eyes: its environment has secrets.

    Raises:
        Unavailable: the disk would not take it.
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
    """Hold a folder's lock; yields its descriptor, or None where another kept it for so long.

    The kernel takes it from the dead, so a killed holder is in nobody's way.

    Raises:
        NotFound: there is no such folder.
    """
    deadline = time.monotonic() + seconds
    while (descriptor := _try_lock(folder)) is None and time.monotonic() < deadline:
        threading.Event().wait(_LOOK_AGAIN_SECONDS)
    try:
        yield descriptor
    finally:
        # Closed, and not unlocked: a launcher that shares it may still be at work.
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
    except OSError:  # another holds it, or the folder was removed meanwhile
        pass
    os.close(descriptor)
    return None


def _recorded(row: Any) -> Recorded:
    if not isinstance(row, dict):
        raise TypeError("it is no object")
    command, env, stopped = row["command"], row["env"], row["stopped"]
    if not (isinstance(command, list) and isinstance(env, dict) and isinstance(stopped, bool)):
        raise TypeError("a field has the wrong type")
    texts = [row["token"], row["name"], *command, *env.values()]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a word is no text")
    created_at = datetime.fromisoformat(row["created_at"])
    return Recorded(**{**row, "created_at": created_at})
