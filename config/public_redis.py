"""The Redis that rented pods reach over the internet: its certificates and its configuration."""

import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from config import certificates
from config.certificates import Pair
from pods.base.redis_reach import SAID, why_unreachable

SHORTEST_PASSWORD: Final = 20  # anybody on the internet may try one
USER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
# A name of a host, or an address; nothing that ends a line or a word of the configuration.
HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
AUTHORITY: Final = "authority"
SERVER: Final = "server"


class WrongServer(ValueError):
    """A value for the public Redis is missing or wrong; the message says what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicRedis:
    """A server as it should run. Raises WrongServer for values with which it would not be safe."""

    host: str  # its name on the internet
    port: int
    user: str  # the manager's
    password: str
    names: Sequence[str] = ()  # further names by which the manager reaches it
    bind: str = "* -::*"
    seen_at: str  # the folder of its files, as the server sees it
    data: str  # the folder of its data, as the server sees it

    def __post_init__(self) -> None:
        for name in (self.host, *self.names):
            if not HOST.fullmatch(name):
                raise WrongServer(f"{name!r} is not the name or the address of a host")
        if not USER.fullmatch(self.user) or self.user == "default":
            raise WrongServer(
                f"REDIS_USERNAME is {self.user!r}; give letters, digits, - and _, and not `default`, "
                "because that user is switched off"
            )
        if len(self.password) < SHORTEST_PASSWORD:
            raise WrongServer(
                f"REDIS_PASSWORD has fewer than {SHORTEST_PASSWORD} characters; make a new one with "
                "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'`"
            )


def wanted(
    address: str, *, user: str, password: str, names: Sequence[str], seen_at: str, data: str
) -> PublicRedis:
    """The server at this address for pods.

    Raises:
        WrongServer: a value is missing or wrong.
    """
    parts, right = urlsplit(address), "give for example rediss://redis.example.com:6380/0"
    if not address:
        raise WrongServer(f"PODFLEET_PODS_REDIS_URL is not set; {right}")
    if why := why_unreachable(address):
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise WrongServer(
            f"rented pods cannot use PODFLEET_PODS_REDIS_URL, {place}, which {SAID[why]}; {right}"
        )
    assert parts.hostname is not None  # an address without a host means the machine that asks
    return PublicRedis(
        host=parts.hostname,
        port=parts.port or 6379,
        user=user or "podfleet",
        password=password,
        names=names,
        seen_at=seen_at,
        data=data,
    )


def configuration(server: PublicRedis) -> str:
    """The server's configuration file.

    Only TLS; the default user is off, so only the manager and the users that it makes for its pods
    may connect. The password is there as a hash.
    """
    digest = hashlib.sha256(server.password.encode()).hexdigest()
    pem = f'"{server.seen_at}/{SERVER}.pem"'
    lines = [
        "# Written by `manage.py prepare --public-redis`, which overwrites it.",
        f"bind {server.bind}",
        "protected-mode no",
        "port 0",
        f"tls-port {server.port}",
        f"tls-cert-file {pem}",
        f"tls-key-file {pem}",
        "tls-auth-clients no",
        'tls-protocols "TLSv1.2 TLSv1.3"',
        "user default off",
        f"user {server.user} on #{digest} ~* &* +@all",
        f'dir "{server.data}"',
        "appendonly yes",
        "# If the server evicted keys, tasks, items and fences would be lost.",
        "maxmemory-policy noeviction",
    ]
    return "\n".join(lines) + "\n"


def prepare(
    folder: Path, server: PublicRedis, *, now: datetime, out: Path | None = None
) -> Sequence[str]:
    """Write what the server needs: make what is missing, renew what ends soon. Return what changed.

    `folder` gets the authority and its key, which pods pin and which is never made again while it is
    there. `out`, by default its folder `server`, gets what the server itself reads, without that key.

    Raises:
        WrongServer: the authority in the folder cannot be read.
    """
    changed: list[str] = []
    authority = _authority(folder, now, changed)
    there = out or folder / SERVER
    for place in (folder, there):
        _write(place / f"{AUTHORITY}.pem", certificates.public_pem(authority.certificate))
    names = list(dict.fromkeys([server.host, *server.names, "localhost", "127.0.0.1"]))
    own = _read(there / f"{SERVER}.pem")
    if own is None or not certificates.is_current(own, authority, names, now=now):
        made = certificates.make_server(authority, names, now=now)
        _write(there / f"{SERVER}.pem", made.pem())
        until = made.certificate.not_valid_after_utc
        changed.append(f"the certificate for {', '.join(names)}, until {until:%F}")
    if _write(there / "redis.conf", configuration(server).encode()):
        changed.append("the configuration")
    return changed


def _authority(folder: Path, now: datetime, changed: list[str]) -> Pair:
    kept = folder / f"{AUTHORITY}.key"
    if kept.exists():
        found = _read(kept)
        if found is None:
            raise WrongServer(
                f"{kept} cannot be read; restore it from a backup. Pods trust this authority, so "
                "another one would lock them out. Delete it only if no pod runs"
            )
        return found
    made = certificates.make_authority("Podfleet Redis", now=now)
    _write(kept, made.pem())
    changed.append("the authority that pods will trust")
    return made


def _read(file: Path) -> Pair | None:
    try:
        return certificates.read(file.read_bytes())
    except (OSError, ValueError, TypeError):
        return None


def _write(file: Path, content: bytes) -> bool:
    """Write a file for its owner alone, whole or not at all; False: it was so already."""
    if file.exists() and file.read_bytes() == content:
        return False
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
    draft.replace(file)
    return True
