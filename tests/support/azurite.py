"""A real server of Azure's blob protocol on this machine: Azurite, Microsoft's own emulator."""

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.object_store import free_port
from tests.support.waiting import until

# The folder with `azurite-blob`, if it is not on the path: the npm package `azurite` has it.
VARIABLE = "TEST_AZURITE_DIR"
CONTAINER = "parts"
# The account and the key of every Azurite, as its documentation gives them.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def azurite(folder: Path) -> Iterator[Mapping[str, str]]:
    """Run one with one container; the variables with which a process reaches it."""
    where = os.environ.get(VARIABLE)
    program = shutil.which("azurite-blob", path=where) if where else shutil.which("azurite-blob")
    if program is None:
        pytest.skip(f"no azurite-blob: install the npm package azurite, or set {VARIABLE}")
    port = free_port()
    words = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "-l", str(folder)]
    server = subprocess.Popen(
        [*words, "--silent", "--disableTelemetry", "--skipApiVersionCheck"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    try:
        until(lambda: _makes_container(endpoint))
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        }
    finally:
        server.kill()
        server.wait()


def _makes_container(endpoint: str) -> bool:
    """Make the container, signed as the service asks for it (its clients cannot make one)."""
    now = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} GMT"
    headers = {"x-ms-date": now, "x-ms-version": "2021-08-06"}
    named = "".join(f"{name}:{value}\n" for name, value in headers.items())
    text = f"PUT{12 * chr(10)}{named}/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    signed = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(
        f"{endpoint}/{CONTAINER}?restype=container",
        method="PUT",
        headers={
            **headers,
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}",
            "Content-Length": "0",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 201)
    except ConnectionError:
        return False
    except urllib.error.URLError as exc:
        if isinstance(exc.reason, ConnectionError):
            return False
        raise
