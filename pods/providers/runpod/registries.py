"""The account's registry login at RunPod, which keeps logins under a name and gives each an id."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pods.providers.base import Phase, RegistryLogin
from pods.providers.errors import AuthFailed, ProviderError, Unavailable
from pods.providers.http import Answer, VendorHttp
from pods.providers.runpod import mapping
from pods.providers.runpod.refusals import refusal
from pods.providers.wire import checked_id, moment

PATH: Final = "/v2/registries"
ENDPOINT: Final = "registries"
PREFIX: Final = "podfleet"
# Logins that were changed since. Each is a call, and one that a pod uses is refused.
MOST_DELETED: Final = 3
# A pull is refused within seconds. A young pod is looked at every two seconds until it is 30 seconds
# old: so its lines are read two or three times then, because calls are counted.
FIRST_LOOK_SECONDS: Final = 25
LONGEST_LINE: Final = 200
# What Docker and the registries say (moby and distribution, read 2026-12-01).
_NO_LOGIN: Final = (
    "unauthorized",
    "access denied",
    "authentication required",
    "access to the resource is denied",
    "no basic auth credentials",
)


def kept(http: VendorHttp, login: RegistryLogin) -> str:
    """RunPod's id of this login. It is stored there if it is missing; older ones are deleted.

    Safe to be killed at any line and to run twice at once: the name says which login it is, and the
    next call finds it. RunPod never shows a login again (v2 OpenAPI of 2026-08-18, createRegistry).

    Raises:
        ProviderError: the login is not stored, and no pod was asked for.
    """
    known = _listed(http)
    name = _name(login)
    found = sorted(id_ for id_, named in known.items() if named == name)
    chosen = found[0] if found else _store(http, name, login)
    begin = name.removesuffix(login.digest)
    others = [i for i, named in known.items() if named.startswith(begin) and named != name]
    for old in sorted(others)[:MOST_DELETED]:
        _delete(http, old)
    return chosen


def _name(login: RegistryLogin) -> str:
    return f"{PREFIX}-{login.owner}-{login.digest}"


def _listed(http: VendorHttp) -> Mapping[str, str]:
    """The names of all logins there, by their ids."""
    answer = http.call("GET", PATH, endpoint=ENDPOINT)
    body = _good(answer)
    rows = body.get("registries") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise Unavailable(f"{answer.what}: the answer has no list of registries")
    return {
        row["id"]: row["name"]
        for row in rows
        if isinstance(row, dict)
        and isinstance(row.get("id"), str)
        and isinstance(row.get("name"), str)
    }


def _store(http: VendorHttp, name: str, login: RegistryLogin) -> str:
    wanted = {"name": name, "username": login.user, "password": login.password}
    answer = http.call(
        "POST", PATH, json=wanted, hide=[login.password], endpoint=ENDPOINT, repeatable=False
    )
    body = _good(answer)
    made = body.get("id") if isinstance(body, dict) else None
    if not isinstance(made, str) or not made:
        raise Unavailable(f"{answer.what}: the answer names no id")
    return made


def _delete(http: VendorHttp, registry_id: str) -> None:
    """Delete a login that was changed since. RunPod refuses that while a pod uses it."""
    try:
        http.call("DELETE", f"{PATH}/{checked_id(registry_id)}", endpoint=ENDPOINT)
    except ProviderError:  # nothing depends on it, and the next create tries again
        return


def _good(answer: Answer) -> Any:
    if answer.ok:
        return answer.body
    error = refusal(answer)
    if isinstance(error, AuthFailed):
        raise AuthFailed(f"{error}; the account's key may not read or store registry credentials")
    raise error


def may_be_refused(pod: Mapping[str, Any], *, wall_clock: Callable[[], float] = time.time) -> bool:
    """Whether the pod waits for its image long enough to have been refused, with a login or without."""
    created = moment(pod.get("createdAt"))
    waits = mapping.phase(pod) is Phase.BOOTING
    return bool(waits and created and wall_clock() - created.timestamp() >= FIRST_LOOK_SECONDS)


def refusal_in(lines: Iterable[str]) -> str:
    """The newest line if it says that the registry refused the login. Empty where it does not."""
    newest = next((line for line in reversed(list(lines)) if line.strip()), "")
    refused = any(words in newest.lower() for words in _NO_LOGIN)
    return newest.strip()[:LONGEST_LINE] if refused else ""
