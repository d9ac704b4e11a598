"""What a pod's output says about Redis, in plain words. Pure."""

import re
from collections.abc import Sequence
from typing import Final

# The lines of the machine's start command (pods/agent/start.py) and of the agent (heartbeat.py).
ABOUT_REDIS: Final = re.compile(
    r"no Redis yet:|Redis does not answer:|heartbeat_failed|_failed tries="
)
NO_TLS: Final = (
    r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|record layer failure|handshake.* timed out"
)
# The texts are those of OpenSSL, of Redis and of the system. The first that fits counts.
KNOWN: Final[Sequence[tuple[re.Pattern[str], str]]] = [
    (re.compile(pattern, re.IGNORECASE), said)
    for pattern, said in (
        (
            "certificate has expired",
            "the certificate of Redis has expired; renew it and restart the server",
        ),
        (
            "certificate is not yet valid",
            "the certificate of Redis is not valid yet; compare the clocks of pod and server",
        ),
        (
            "(hostname|IP address) mismatch",
            "the certificate of Redis is for another name; the address for pods must have a name that "
            "is in the certificate",
        ),
        (
            "CERTIFICATE_VERIFY_FAILED",
            "the certificate of Redis is not from the authority that the pod trusts; check "
            "PODFLEET_REDIS_CA, or ssl_ca_certs in the address",
        ),
        (NO_TLS, "the server at the address of Redis does not speak TLS there"),
        (
            "WRONGPASS|NOAUTH|invalid username-password",
            "Redis refuses the login of the pod; its user is missing, or this is another server",
        ),
        (
            "Name or service not known|name resolution|No address associated|nodename nor servname",
            "the name in the address of Redis is not known where the pod runs",
        ),
        (
            "refused|timed out|Timeout|No route to host|unreachable",
            "nothing answers at the address of Redis; open its port to the internet",
        ),
    )
]


def said_by(output: str) -> str:
    """Why the pod does not reach Redis, by the last line that says so; "": no line does."""
    lines = [line for line in output.splitlines() if ABOUT_REDIS.search(line)]
    if not lines:
        return ""
    return next((said for pattern, said in KNOWN if pattern.search(lines[-1])), "")
