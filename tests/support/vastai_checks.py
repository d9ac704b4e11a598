"""Checks the exchanges with Vast.ai's emulator against our schemas and the vendor's document."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from pods.emulators.base import Exchange, Request
from pods.emulators.vastai import LOG_STORE
from tests.support.vendor_documents import specs_folder

SCHEMAS: Final = Path(__file__).parent / "schemas" / "vastai.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A place where the vendor's document is wrong, and the evidence."""

    operation: str  # the name of its file
    part: str  # request or reply
    where: str  # a regular expression for the place of the error
    because: str


# providers/vastai.md names the evidence of each (its sections in brackets).
DEVIATIONS: Final = (
    Deviation(
        operation="search_offers",
        part="request",
        where=r"type",
        because="its own example, the guides and the vendor's client send on-demand [2]",
    ),
    Deviation(
        operation="search_offers",
        part="request",
        where=r"order",
        because="the two items are those of the inner pair; the client sends one pair [2]",
    ),
    Deviation(
        operation="create_instance",
        part="request",
        where=r"env",
        because="an object of names and values; the vendor's client sends only that [3]",
    ),
    Deviation(
        operation="show_instance",
        part="reply",
        where=r"200 instances/ports",
        because="an object of port and host ports, as the list's own document says [4]",
    ),
    Deviation(
        operation="show_instance",
        part="reply",
        where=r"200 instances/extra_env/\d+",
        because="a list of pairs, as the list's own document says [4]",
    ),
    Deviation(
        operation="show_instance",
        part="reply",
        where=r"200 instances",
        because="null if it is gone or not yet there; {} and a list were seen too [4]",
    ),
    Deviation(
        operation="create_instance",
        part="reply",
        where=r"400 error",
        because="insufficient_credit is missing among its codes [6]",
    ),
    Deviation(
        operation="manage_instance",
        part="reply",
        where=r"(400|401|404) error",
        because="auth_error is missing among its codes, also of 401 [6]",
    ),
    Deviation(
        operation="(all)",
        part="reply",
        where=r"(401|403|404|410|429)",
        because="every route answers these for keys, rate limits and ended machines [6]",
    ),
    Deviation(
        operation="logs",
        part="request",
        where="path",
        because="write paths have a trailing slash on the server and in the client [0]",
    ),
)


def vendor_files() -> Path | None:
    """The folder of the vendor's documents, or None; no licence allows us to pass them on."""
    folder = specs_folder() / "vastai-endpoints"
    return folder if folder.is_dir() else None


@cache
def _schemas() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(SCHEMAS.read_text(encoding="utf-8"))
    return document


def operation_of(request: Request) -> Mapping[str, Any]:
    """The operation of a request in our schemas.

    Raises:
        AssertionError: the adapter must not make this request.
    """
    for operation in _schemas()["operations"]:
        if request.method == operation["method"] and re.fullmatch(operation["path"], request.path):
            found: Mapping[str, Any] = operation
            return found
    raise AssertionError(
        f"{request.method} {request.path} is not an operation that the adapter uses"
    )


class OwnSchemas:
    """Checks each exchange against our own schemas; it ignores answers that a fault made."""

    def __init__(self, *, requests: bool = True) -> None:
        """`requests`: False for another client, which may make other requests than the adapter."""
        self._requests = requests

    def __call__(self, exchange: Exchange) -> None:
        request, reply = exchange.request, exchange.reply
        if request.path.startswith(LOG_STORE):
            return
        try:
            operation = operation_of(request)
        except AssertionError:
            if self._requests:
                raise
            return
        if self._requests:
            query = {name: values[0] for name, values in request.query.items()}
            _must_fit(query, operation.get("query", {"const": {}}))
            _must_fit(request.json(), operation.get("request", {"const": None}))
        if reply is not None and not exchange.faulty and reply.text is None:
            refused = reply.status >= 400
            schema = {"$ref": "#/$defs/refusal"} if refused else operation["reply"]
            _must_fit(json.loads(reply.body()), schema)


def _must_fit(value: Any, schema: Mapping[str, Any]) -> None:
    error = best_match(_validator(json.dumps(schema)).iter_errors(value))
    if error is not None:
        raise error


@cache
def _validator(schema: str) -> Validator:
    """The validator of one schema: to check the schema itself costs 20 ms, so once is enough."""
    whole = {**json.loads(schema), "$defs": _schemas()["$defs"]}
    kind = validator_for(whole)
    kind.check_schema(whole)
    return kind(whole)


class VendorSpec:
    """Checks each exchange against the vendor's own OpenAPI files, except the known deviations."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.met: set[Deviation] = set()
        self.checked: set[tuple[str, str]] = set()

    def __call__(self, exchange: Exchange) -> None:
        if exchange.request.path.startswith(LOG_STORE):
            return
        name = operation_of(exchange.request)["name"]
        document = _openapi(self._folder / f"{name}.yaml")
        request = _as_vendor_request(exchange.request, slash=name != "logs")
        if name == "logs":
            self.met.add(next(d for d in DEVIATIONS if d.where == "path"))
        self._check(name, "request", "", lambda: document.validate_request(request))
        self.checked.add((name, "request"))
        reply = exchange.reply
        if reply is None or exchange.faulty:
            return
        response = MockResponse(
            reply.body(), status_code=reply.status, content_type=reply.content_type
        )
        prefix = f"{reply.status} "
        self._check(name, "reply", prefix, lambda: document.validate_response(request, response))
        self.checked.add((name, f"reply {reply.status}"))

    def raw(self, name: str) -> Mapping[str, Any]:
        """The content of a file of the vendor."""
        return _load(self._folder / f"{name}.yaml")

    def _check(self, name: str, part: str, prefix: str, validate: Any) -> None:
        try:
            validate()
        except Exception as exc:
            left = [p for p in _places(exc, prefix) if not self._is_known(name, part, p[0])]
            if left:
                raise AssertionError(f"{name} {part}: {left}") from exc

    def _is_known(self, name: str, part: str, place: str) -> bool:
        for known in DEVIATIONS:
            fits = known.operation in {name, "(all)"} and known.part == part
            if fits and re.fullmatch(known.where, place):
                self.met.add(known)
                return True
        return False


def _places(exc: BaseException, prefix: str) -> Sequence[tuple[str, str]]:
    """The places of an error in the JSON with its messages; without a place, the status."""
    cause: BaseException | None = exc
    while cause is not None:
        errors = getattr(cause, "schema_errors", None)
        if errors:
            return [
                (prefix + "/".join(str(p) for p in e.absolute_path), e.message[:200])
                for e in errors
            ]
        cause = cause.__cause__
    return [(prefix.strip(), str(exc)[:200])]


def _as_vendor_request(request: Request, *, slash: bool) -> MockRequest:
    return MockRequest(
        "https://console.vast.ai",
        request.method.lower(),
        request.path if slash else request.path.rstrip("/"),
        args={name: values[0] for name, values in request.query.items()},
        headers={"Authorization": request.headers.get("authorization", "")},
        data=request.raw or None,
        content_type="application/json",
    )


@cache
def _load(path: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


@cache
def _openapi(path: Path) -> OpenAPI:
    return OpenAPI.from_dict(dict(_load(path)))
