"""The requests that RunPod takes. It answers 422 to an unknown field."""

from collections.abc import Mapping
from typing import Any, Final

from pods.emulators.base import Request
from pods.emulators.runpod_problems import Problem

CREATE_FIELDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "name": str,
    "image": str,
    "args": str,
    "disk": int,
    "env": dict,
    "ports": list,
    "registry": (str, type(None)),
    "cloud": str,
    "cpu": dict,
    "gpu": dict,
    "dataCenterIds": list,
    "globalNetworking": bool,
    "mounts": dict,
    "startJupyter": bool,
    "startSsh": bool,
    "templateId": str,
}
MOST_VARIABLES: Final = 50
GPU_FIELDS: Final = {"id", "count", "allowedCudaVersions", "minCudaVersion"}


def shape_errors(body: Mapping[str, Any]) -> list[str]:
    """The errors in the form of a create, as RunPod lists them."""
    errors = [
        f"$: additional properties '{name}' not allowed"
        for name in body
        if name not in CREATE_FIELDS
    ]
    errors += [
        f"$.{name}: wrong type"
        for name, kind in CREATE_FIELDS.items()
        if name in body and not isinstance(body[name], kind)
    ]
    if not body.get("name"):
        errors.append("$.name: required")
    if not body.get("image") and not body.get("templateId"):
        errors.append("$.image: required")
    if body.get("cloud", "SECURE") not in {"SECURE", "COMMUNITY"}:
        errors.append("$.cloud: not one of SECURE, COMMUNITY")
    gpu = body.get("gpu")
    if isinstance(gpu, dict) and (not isinstance(gpu.get("id"), str) or gpu.keys() - GPU_FIELDS):
        errors.append("$.gpu: wrong fields")
    env = body.get("env")
    if isinstance(env, dict) and not all(isinstance(v, str) for v in env.values()):
        errors.append("$.env: values must be strings")
    if isinstance(env, dict) and len(env) > MOST_VARIABLES:
        errors.append(f"$.env: more than {MOST_VARIABLES} variables")
    return errors


REGISTRY_FIELDS: Final = ("name", "username", "password")


def registry_errors(body: Mapping[str, Any]) -> list[str]:
    """The errors in the form of a new registry login."""
    stray = [n for n in body if n not in REGISTRY_FIELDS]
    errors = [f"$: additional properties '{name}' not allowed" for name in stray]
    lacking = [n for n in REGISTRY_FIELDS if not (isinstance(body.get(n), str) and body[n])]
    return [*errors, *(f"$.{name}: required" for name in lacking)]


def object_in(request: Request) -> dict[str, Any]:
    """The object in the body of a request."""
    try:
        body = request.json()
    except ValueError as exc:
        raise Problem(400, "request could not be processed") from exc
    if not isinstance(body, dict):
        raise Problem(422, "Request validation failed.", errors=["$: expected an object"])
    return body


def unknown_field(name: str) -> Problem:
    """The refusal of a field that RunPod does not know."""
    errors = [f"$: additional properties '{name}' not allowed"]
    return Problem(422, "Request validation failed.", errors=errors)
