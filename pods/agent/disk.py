"""Keeps code and environments on a disk that many pods use, and deletes what none has used for long.

A pod holds a shared lock on each folder that it uses, until its process ends: it survives `exec`. Only a
folder on which nobody has a lock is deleted. The bootstrap uses this from the wheel, so it needs the
standard library alone.
"""

import fcntl
import os
import shutil
import time
from pathlib import Path

DAY_SECONDS = 86_400
DOOMED = ".deleted"


class Lock:
    """The lock of one folder. The file beside the folder is never deleted: others may wait for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(f"{folder}.used", os.O_CREAT | os.O_RDWR, 0o600)

    def alone_at_once(self) -> bool:
        """Take it, unless somebody has it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def share(self) -> None:
        """Keep the folder until this process, or what it becomes, ends; it counts as used now."""
        if self.folder.exists():
            os.utime(self.folder)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        os.set_inheritable(self._fd, True)

    def release(self) -> None:
        """Let others have it."""
        os.close(self._fd)


def sweep(cache: Path, days: float) -> int:
    """Delete the code and the environments that no pod began to use for so long; return how many."""
    gone = 0
    for kind in ("environments", "code"):
        for folder in _folders(cache / kind):
            if folder.name.endswith(DOOMED):  # a sweep died in the middle
                shutil.rmtree(folder, ignore_errors=True)
            else:
                gone += _deleted(folder, days)
    return gone


def _folders(parent: Path) -> "list[Path]":
    try:
        return [each for each in parent.iterdir() if each.is_dir() and not each.is_symlink()]
    except OSError:
        return []


def _deleted(folder: Path, days: float) -> bool:
    lock = Lock(folder)
    try:
        if not _is_old(folder, days) or not lock.alone_at_once():
            return False
        if not _is_old(folder, days):  # somebody used it meanwhile
            return False
        # Under another name first: what is half deleted must not look whole.
        doomed = Path(f"{folder}{DOOMED}")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        Path(f"{folder}.zip").unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        lock.release()
    return True


def _is_old(folder: Path, days: float) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > days * DAY_SECONDS
    except OSError:
        return False
