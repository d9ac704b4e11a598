"""The start command of a machine whose image has no agent: it fetches the agent's wheel, and runs it.

It travels compressed in the create call of each vendor (pods/accounts/start_command.py), so it uses the
standard library alone and is short. The rest is in the wheel: bootstrap.py. docs/reference/bootstrap.md
describes both.
"""

import base64
import hashlib
import json
import os
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from typing import Any

PIECE = 1 << 20  # bytes of one answer: a small buffer on the server, and heartbeats in between
PATIENCE = 60.0  # seconds; then a wheel from before a restart is used, if there is one


class Refused(Exception):
    """Redis refuses a command."""


class Failed(Exception):
    """The agent cannot be started; the message says why."""


class Redis:
    """One connection, which is opened again where it breaks. Several threads may call it."""

    def __init__(self, url: str, patience: float, ca: str = "") -> None:
        self.url, self.patience, self.ca = urllib.parse.urlsplit(url), patience, ca
        self.lock, self.file = threading.RLock(), None  # type: Any, Any

    def __call__(self, *words: Any) -> Any:
        """The answer to a command.

        Raises:
            Refused: the server does not allow it.
            OSError: it does not answer, or does not know this pod, for `patience` seconds.
        """
        with self.lock:
            began = time.monotonic()
            while True:
                try:
                    if not self.file:
                        self.open()
                    return self.say(*words)
                except (OSError, EOFError) as exc:
                    self.file = None
                    if time.monotonic() - began > self.patience:
                        raise OSError(f"Redis does not answer: {exc}") from exc
                    print("podfleet: no Redis yet:", exc, flush=True)  # noqa: T201
                time.sleep(2)

    def open(self) -> None:
        """Connect, and log in."""
        url, given = self.url, dict(urllib.parse.parse_qsl(self.url.query))
        link = socket.create_connection((url.hostname, url.port or 6379), 20)
        if self.ca or url.scheme == "rediss":
            pinned = (
                base64.b64decode(self.ca) or None
            )  # then the machine's authorities do not count
            trust = ssl.create_default_context(cafile=given.get("ssl_ca_certs"), cadata=pinned)
            if not self.ca and given.get("ssl_cert_reqs") == "none":
                trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
            link = trust.wrap_socket(link, server_hostname=url.hostname)
        self.file = link.makefile("rwb")
        try:
            if url.password:
                names = filter(None, (url.username, url.password))
                self.say("AUTH", *map(urllib.parse.unquote, names))
            self.say("SELECT", url.path.strip("/") or 0)
        except Refused as exc:  # a server that restarted knows no users until the next sweep
            raise OSError(exc) from exc

    def say(self, *words: Any) -> Any:
        """Send one command on the open connection, and read its answer."""
        sent = [str(word).encode() for word in words]
        self.file.write(b"*%d\r\n" % len(sent))
        self.file.writelines(b"$%d\r\n%b\r\n" % (len(word), word) for word in sent)
        self.file.flush()
        return self.read()

    def read(self) -> Any:
        """One answer."""
        line = self.file.readline()
        if line[-1:] != b"\n":
            raise EOFError("the connection was closed")
        kind, text = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise Refused(text)
        if kind in b"+:":
            return text
        size = int(text)
        if kind == b"*":
            return [self.read() for _ in range(size)]
        value = self.file.read(size + 2)[:-2] if size >= 0 else b""
        if len(value) != max(size, 0):
            raise EOFError("the connection was closed")
        return value


def fetch(redis: Any, key: str, digest: str, path: str) -> None:
    """Fetch a value in pieces into a file, which is there whole or not at all.

    Raises:
        Failed: it is not what the digest says.
    """
    if os.path.exists(path):
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    size, found, draft = int(redis("STRLEN", key)), hashlib.sha256(), f"{path}.{time.time_ns()}"
    with open(draft, "wb") as file:
        for start in range(0, size, PIECE):
            piece = redis("GETRANGE", key, start, start + PIECE - 1)
            found.update(piece)
            file.write(piece)
    if found.hexdigest() != digest:
        os.remove(draft)
        raise Failed(f"{key} has {size} bytes and not the digest that it should have")
    os.replace(draft, path)


def fetch_wheel(redis: Redis, keys: str, cache: str) -> str:
    """Fetch the agent's wheel. Returns its path.

    Raises:
        Failed: it is not there, or it is damaged.
    """
    name, digest = json.loads(redis("GET", keys + "agent") or "[0,0]")
    if not name:
        raise Failed("the agent's wheel is not in Redis")
    wheel = f"{cache}/wheels/{digest}/{name}"
    fetch(redis, keys + digest, digest, wheel)
    with open(cache + "/agent", "w") as file:
        file.write(wheel)
    return wheel


def authority(env: Any) -> str:
    """The authority of Redis, whose value is in several variables because vendors limit each one."""
    return "".join(env[name] for name in sorted(env) if name.startswith("PODFLEET_REDIS_CA"))


def main(env: Any = os.environ) -> None:
    """Fetch the wheel, and go on with the bootstrap in it."""
    cache = os.path.expanduser(env.get("PODFLEET_CACHE") or "~/.cache/podfleet")
    keys = "podfleet:%s:code:" % env["PODFLEET_FLEET"]
    redis = Redis(env["PODFLEET_REDIS_URL"], PATIENCE, authority(env))
    began = time.monotonic()
    while True:
        try:
            wheel = fetch_wheel(redis, keys, cache)
            break
        except Refused as exc:
            sys.exit(f"podfleet: refused: {exc}")
        except (Failed, OSError) as exc:
            print("podfleet:", exc, flush=True)  # noqa: T201
            time.sleep(2)
            if time.monotonic() - began > PATIENCE:
                if not os.path.exists(cache + "/agent"):
                    sys.exit(f"podfleet: {exc}")
                with open(cache + "/agent") as file:
                    wheel = file.read()
                break
    sys.path.insert(0, wheel)
    from pods.agent import bootstrap  # noqa: PLC0415 - it is in the wheel

    bootstrap.main(wheel, env)


if __name__ == "__main__":
    main()
