"""Ends the machine from inside through its vendor's API, when there is no manager to do it."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib import error, request
from urllib.parse import quote

from pods.agent.protocol import ENDED_BY

log = logging.getLogger("podfleet.agent")

# The vendors' own addresses. A variable may name another one: a proxy or an emulator.
RUNPOD_URL = "https://api.runpod.io"
VASTAI_URL = "https://console.vast.ai"
URL_VARIABLE = "PODFLEET_VENDOR_URL"
POD_VARIABLE = "PODFLEET_POD"
TIMEOUT_SECONDS = 15.0
# After these tries the process ends anyway. A container that is started again runs the agent again,
# and that tries again after `orphan_seconds`.
PAUSES_SECONDS = (1.0, 5.0, 15.0, 30.0)
MOST_ANSWER_BYTES = 65536
NEVER = threading.Event()


@dataclass(frozen=True)
class Ask:
    """One way to ask a vendor to end this machine."""

    method: str
    url: str
    key: str = field(repr=False)
    body: Any = None

    def send(self) -> str:
        """Send the request. Returns why it failed, or "" where the machine will end.

        A machine that the vendor no longer knows counts as one that ends.
        """
        data = None if self.body is None else json.dumps(self.body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "User-Agent": "podfleet-agent"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        asked = request.Request(self.url, data=data, headers=headers, method=self.method)  # noqa: S310
        try:
            with request.urlopen(asked, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return _refusal(answer.read(MOST_ANSWER_BYTES))
        except error.HTTPError as exc:
            return "" if exc.code == 404 else f"HTTP {exc.code}"
        except (error.URLError, OSError, ValueError) as exc:
            return f"{type(exc).__name__}: {exc}"


def _refusal(body: bytes) -> str:
    """The error in an answer with status 200: GraphQL's errors, or `success: false`."""
    try:
        value = json.loads(body)
    except ValueError:
        return (
            "" if not body.lstrip().startswith(b"<") else "a page instead of an answer of the API"
        )
    if not isinstance(value, dict):
        return ""
    errors = json.dumps(value.get("errors"))
    if "POD_NOT_FOUND" in errors:
        return ""
    if value.get("errors"):
        return errors[:300]
    return json.dumps(value)[:300] if value.get("success") is False else ""


def ways(environment: Mapping[str, str], first: Mapping[str, str]) -> Iterator[Ask]:
    """The ways to end this machine, the best one first. None where its adapter names no vendor.

    `environment`: the agent's own. `first`: that of the machine's first process, which may alone
    have the vendor's variables. It never says whether the machine may be ended: an agent on a host
    that is itself rented must not end its host.
    """
    vendor, _, of_pod = environment.get(ENDED_BY, "").partition(":")
    if of_pod != environment.get(POD_VARIABLE, ""):  # inherited from the agent of another pod
        return
    known = {**first, **environment}
    other = known.get(URL_VARIABLE, "").rstrip("/")
    if vendor == "runpod":
        yield from _runpod(known, other or RUNPOD_URL)
    elif vendor == "vastai":
        yield from _vastai(known, other or VASTAI_URL)


def _runpod(known: Mapping[str, str], base: str) -> Iterator[Ask]:
    pod, key = known.get("RUNPOD_POD_ID", ""), known.get("RUNPOD_API_KEY", "")
    if pod and key:
        # It is not proved that a pod's key may do this. It is proved that it may do the next (2026-09).
        yield Ask("DELETE", f"{base}/v2/pods/{quote(pod, safe='')}", key)
        query = "mutation End($id: String!) { podTerminate(input: {podId: $id}) }"
        yield Ask("POST", f"{base}/graphql", key, {"query": query, "variables": {"id": pod}})


def _vastai(known: Mapping[str, str], base: str) -> Iterator[Ask]:
    key, contract = known.get("CONTAINER_API_KEY", ""), known.get("CONTAINER_ID", "")
    contract = contract or known.get("VAST_CONTAINERLABEL", "").removeprefix("C.")
    if contract and key:
        yield Ask("DELETE", f"{base}/api/v0/instances/{quote(contract, safe='')}/", key, {})


def of_first_process(path: Path = Path("/proc/1/environ")) -> dict[str, str]:
    """The environment with which the container was started. A shell may not have passed it on."""
    try:
        raw = path.read_bytes()
    except OSError:
        return {}
    pairs = (part.decode("utf-8", "replace").partition("=") for part in raw.split(b"\0") if part)
    return {name: value for name, _, value in pairs}


def end_machine(
    environment: Mapping[str, str], *, pause: Callable[[float], Any] = NEVER.wait
) -> bool:
    """Ask the vendor to destroy this machine, each way, several times. Whether it agreed."""
    asks = list(ways(environment, of_first_process()))
    if not asks:
        log.info("machine_not_ended because='no way to end this machine is known'")
        return False
    for seconds in (*PAUSES_SECONDS, 0.0):
        for ask in asks:
            because = ask.send()
            if not because:
                log.warning("machine_ended by=%s %s", ask.method, ask.url)
                return True
            log.error("machine_not_ended by=%s %s because=%r", ask.method, ask.url, because)
        pause(seconds)
    return False
