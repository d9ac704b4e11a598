"""What RunPod's refusals mean. They have a status and a sentence, but no error code."""

from collections.abc import Mapping
from typing import Any, Final

from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from pods.providers.http import Answer

# Texts of a 400 that mean no capacity (v2 migration notes and recordings, 2026-08).
NO_CAPACITY: Final = (
    "no longer any instances",
    "no instances",
    "not enough free gpus",
    "enough disk space",
    "does not have the resources",  # podFindAndDeployOnDemand's text, passed on by v2
)
_ERRORS_SHOWN: Final = 3
_BAD_REQUEST, _NOT_FOUND, _GONE = 400, 404, 410


_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    401: AuthFailed,
    402: QuotaExceeded,
    403: AuthFailed,
    404: NotFound,
}
# On a create, a 403 means that this pool is closed to the account, not that the key is bad. A 404
# means something that the request names (v2 OpenAPI of 2026-08-18, createPod).
_BY_STATUS_OF_CREATE: Final[Mapping[int, type[ProviderError]]] = {
    **_BY_STATUS,
    403: NoCapacity,
    404: Refused,
}


def refusal(answer: Answer, *, creating: bool = False) -> ProviderError:
    """The error that an answer means. A 429 or a 5xx never comes here."""
    body, status = answer.body, answer.status
    if not isinstance(body, dict) or not {"title", "error"} & body.keys():
        return Unavailable(
            f"{answer.what}: answered {status}, and the answer is not from RunPod's API"
        )
    detail = _detail(body)
    message = f"{answer.what}: {status} {detail}"
    if "title" not in body and status == _NOT_FOUND:
        # The form of v1, which v2 also uses for some refusals. A server that is not RunPod's v2 knows
        # no pod at all, so this must not mean that the pod is gone.
        return Refused(f"{message}; if base_url leads to the retired v1 API, correct it")
    if status == _GONE:
        return Refused(f"{message}; RunPod has retired this API, Podfleet must be updated")
    if status == _BAD_REQUEST and any(text in detail.lower() for text in NO_CAPACITY):
        return NoCapacity(message)
    known = _BY_STATUS_OF_CREATE if creating else _BY_STATUS
    return known.get(status, Refused)(message)


def _detail(body: dict[str, Any]) -> str:
    parts = [str(body.get("detail") or body.get("error") or "")]
    if isinstance(errors := body.get("errors"), list):
        parts += [str(error) for error in errors[:_ERRORS_SHOWN]]
    return "; ".join(part for part in parts if part)[:500]
