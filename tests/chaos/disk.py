"""A small disk for the logs, which a test can fill."""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

SIZE: Final = "48m"
BLOCK: Final = b"\0" * 65536


class LogDisk:
    """The folder of the logs on a file system of its own."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Write until no byte is free."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                file.write(BLOCK)

    def full(self) -> bool:
        """Whether the disk refuses one more block."""
        try:
            (self._filler.parent / "probe").write_bytes(BLOCK)
        except OSError as exc:
            return exc.errno == errno.ENOSPC
        return False

    def free(self) -> None:
        """Free the space again."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def log_disk(folder: Path) -> Iterator[LogDisk | None]:
    """The mounted disk; None without the right to mount one (that takes root)."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "podfleet-log", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        yield None
        return
    if done.returncode:
        yield None
        return
    try:
        yield LogDisk(folder)
    finally:
        # -l, lazily: a process that is about to end may still have its log open.
        subprocess.run(["umount", "-l", str(folder)], check=False)
