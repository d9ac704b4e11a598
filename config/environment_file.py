"""The text of a `.env` file for a deployment, with new secrets. Docker Compose and systemd read it."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

# The alphabet of the secrets has no character that an address, a shell, Compose or systemd reads
# in another way.
SECRETS: Final[Mapping[str, tuple[str, int]]] = {
    "POSTGRES_PASSWORD": ("The password of PostgreSQL.", 24),
    "REDIS_PASSWORD": ("The password of Redis.", 24),
    "PODFLEET_SECRET_KEY": ("Signs logins. Keep it with your backups.", 50),
    "PODFLEET_FIELD_KEYS": (
        "Encrypts stored secrets. Without it they are lost: keep it with your backups.",
        50,
    ),
    "PODFLEET_ADMIN_PASSWORD": ("Of the first user, admin. `prepare` reads it once.", 15),
    "FLOWER_PASSWORD": ("Of the user admin of Flower.", 15),
    "PODFLEET_METRICS_TOKEN": ("Prometheus reads /metrics with it.", 32),
}
# Written as a comment: an operator fills it in who has an identity provider.
SIGN_IN: Final = (
    "# Sign-in with an identity provider (docs/howto/sign-in.md), and second factors for passwords:",
    "# PODFLEET_OIDC_ISSUER=https://login.example.com/realms/main",
    "# PODFLEET_OIDC_CLIENT_ID=podfleet",
    "# PODFLEET_OIDC_CLIENT_SECRET=",
    "# PODFLEET_OIDC_ADMIN_GROUPS=fleet-admins",
    "# PODFLEET_REQUIRE_TOTP=1",
)
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1")
LOCAL_ORIGIN: Final = "http://localhost:8000"


def text(
    hosts: Sequence[str], *, https: bool, make: Callable[[int], str] = secrets.token_urlsafe
) -> str:
    """The file. `hosts`: the names of the pages for browsers; `https`: a proxy in front ends TLS."""
    lines = ["# Only the user who runs Podfleet may read this file: it has passwords and keys."]
    for name, (meaning, length) in SECRETS.items():
        lines += [f"# {meaning}", f"{name}={make(length)}"]
    origins = [f"{'https' if https else 'http'}://{host}" for host in hosts]
    lines += [
        "# Host names and origins of the pages.",
        f"PODFLEET_ALLOWED_HOSTS={','.join([*hosts, *LOCAL_HOSTS])}",
        f"PODFLEET_CSRF_TRUSTED_ORIGINS={','.join([*origins, LOCAL_ORIGIN])}",
    ]
    if https:
        lines += [
            "# A proxy in front ends TLS.",
            "PODFLEET_HTTPS=1",
            "PODFLEET_BEHIND_PROXY=1",
        ]
    return "\n".join([*lines, *SIGN_IN, ""])
