"""The create that Vast.ai takes, within the limits of its files."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from pods.emulators.vastai_contracts import Refusal

LOGIN: Final = re.compile(r"-u (\S+) -p (\S+) (\S+)")
# Vast.ai's own client sends the last two.
RUNTYPES: Final = frozenset(
    {
        *("args", "ssh", "jupyter", "ssh_direct", "ssh_proxy", "jupyter_direct", "jupyter_proxy"),
        *("ssh_direc", "jupyter_direc"),
    }
)


def login_in(text: str | None) -> tuple[str, str] | None:
    """The user and the password in an `image_login`."""
    found = LOGIN.fullmatch(text or "")
    return None if found is None else (found[1], found[2])


def checked_create(body: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a contract from the body of a create, within the limits of Vast.ai's file."""
    env = body.get("env") or {}
    args = body.get("args") or []
    login = body.get("image_login")
    wrong = [
        name
        for name, ok in (
            ("image", isinstance(body.get("image"), str) and 0 < len(body["image"]) <= 1024),
            ("label", len(body.get("label") or "") <= 256),
            ("disk", body.get("disk") is None or body["disk"] >= 8),
            ("env", isinstance(env, dict) and all(len(f"{k}{v}") <= 256 for k, v in env.items())),
            ("args", isinstance(args, list) and sum(len(a) for a in args) <= 4096),
            ("image_login", login is None or LOGIN.fullmatch(str(login)) is not None),
            ("runtype", set(str(body.get("runtype", "ssh")).split()) <= RUNTYPES),
        )
        if not ok
    ]
    if wrong:
        raise Refusal(400, "invalid_args", f"error 400/3467: Invalid args: {', '.join(wrong)}")
    if body.get("price") is not None and not 0.001 <= body["price"] <= 128:
        raise Refusal(400, "invalid_price", "Please set a bid price of 0.001 to 128.")
    return {
        "image": body["image"],
        "label": body.get("label") or "",
        "disk": Decimal(str(body.get("disk") or 8)),
        "env": {str(k): str(v) for k, v in env.items()},
        "args": [str(a) for a in args],
        "login": login_in(login),
    }
