"""Scripts, tiny wheels and local fleets for tests of code that travels to pods."""

import base64
import hashlib
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from fleet.models import Fleet
from fleet.tick import ticking
from pods import health, spawning
from pods.models import Account, Pod
from pods.states import BOOTING, CREATING, READY, REQUESTED

DEPENDENCY = "tinydep"
SCRIPT = f"""# /// script
# dependencies = ["{DEPENDENCY}>=1"]
# ///
import {DEPENDENCY}


def handle(batch):
    return [{DEPENDENCY}.marked(item.text) for item in batch]
"""


def tiny_wheel(folder: Path, *, name: str = DEPENDENCY) -> Path:
    """A wheel with one function, in a folder for `--find-links`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        f"{name}.py": b"def marked(text):\n    return '<' + text + '>'\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, body in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(body)}\n"
    files[f"{name}-1.0.dist-info/RECORD"] = f"{record}{name}-1.0.dist-info/RECORD,,\n".encode()
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, body in files.items():
            archive.writestr(path, body)
    return wheel


def no_index(folder: Path) -> dict[str, str]:
    """The variables with which an installer uses this folder and no index."""
    return {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "UV_NO_CONFIG": "1",
    }


@contextmanager
def local_account(root: Path) -> Iterator[Account]:
    """The account `local`, with its machines in `root`. They are ended afterwards."""
    options = {"root": str(root), "python": sys.executable}
    account = Account.objects.create(name="local", provider="local", options=options)
    try:
        yield account
    finally:
        _end_processes_of(root.parent)


def _end_processes_of(folder: Path) -> None:
    """End what runs with this folder in its command: launchers, agents, and their handlers."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()


def step(fleet: Fleet) -> None:
    """Let the manager decide once on the fleet, and take the steps of its pods."""
    ticking.tick_fleet(fleet.pk)
    for pod in Pod.objects.filter(fleet=fleet, state__in=[REQUESTED.value, CREATING.value]):
        spawning.spawn_pod(pod.pk)
    for account in fleet.accounts.all():
        health.sweep_account(account)
    for pod in Pod.objects.filter(fleet=fleet, state__in=[BOOTING.value, READY.value]):
        health.check_pod(pod.pk)
