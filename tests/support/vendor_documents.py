"""Checks an emulator against its vendor's API: our schemas, and the vendor's document.

The vendors' documents have no licence and are not in this repository. If there is a copy (the folder
`PODFLEET_SPECS`, else `../shared/providers/specs` next to the checkout), every exchange is validated
against it too.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import yaml
from jsonschema import Draft202012Validator
from openapi_core import Config, OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from pods.emulators.base import Exchange

SCHEMAS: Final = Path(__file__).parent / "schemas"
CHECKOUT: Final = Path(__file__).parents[2]
Check = Callable[[Exchange], None]


class Invalid(Exception):
    """A request or an answer is not part of the vendor's API."""


def specs_folder() -> Path:
    """The folder for copies of the vendors' documents; it may be missing."""
    named = os.environ.get("PODFLEET_SPECS")
    return Path(named) if named else CHECKOUT.parent / "shared" / "providers" / "specs"


def vendor_document(name: str) -> Path | None:
    """A vendor's document, or None if there is no copy."""
    path = specs_folder() / name
    return path if path.is_file() else None


def own_schemas(name: str) -> Check:
    """A check of every exchange against our schemas of a vendor.

    The answer of a fault is not checked, because it is wrong on purpose. Requests are always checked.
    """
    document = _own_document(name)
    validators = partial(_validator, name)
    rules = [(re.compile(rule["path"]), rule) for rule in document["exchanges"]]

    def check(exchange: Exchange) -> None:
        request, reply = exchange.request, exchange.reply
        rule = next(
            (
                rule
                for path, rule in rules
                if rule["method"] == request.method and path.fullmatch(request.path)
            ),
            None,
        )
        if rule is None:
            raise Invalid("none of our adapters makes this request")
        if request.headers.get("user-agent", "").startswith(("python", "Python")):
            raise Invalid("the user agent is that of a library")
        _must_fit(validators, rule.get("request", "nothing"), request.json())
        if exchange.faulty or reply is None:
            return
        if reply.status in document["problem_statuses"]:
            _must_fit(validators, "problem", json.loads(reply.body()))
        elif str(reply.status) not in rule["answers"]:
            raise Invalid(f"{reply.status} is not an answer to this request")
        elif reply.stream is None:
            raw = reply.body()
            answered = json.loads(raw) if raw else None
            _must_fit(validators, rule["answers"][str(reply.status)], answered)

    return check


def vendor_schemas(path: Path, *, skip: str = "(?!)", slash: bool = False) -> Check:
    """A check of every exchange against a vendor's OpenAPI document.

    `skip`: paths that the document does not have. `slash`: the document's paths lack the last one.
    """
    api, host = _openapi(path)
    skipped = re.compile(skip)

    def check(exchange: Exchange) -> None:
        if skipped.fullmatch(exchange.request.path):
            return
        asked = _request(exchange, host=host, slash=slash)
        if _is_valid_request(exchange):
            api.validate_request(asked)
        reply = exchange.reply
        if exchange.faulty or reply is None or reply.stream is not None:
            return
        api.validate_response(
            asked,
            MockResponse(
                data=reply.body(),
                status_code=reply.status,
                headers=dict(reply.headers),
                content_type=reply.content_type,
            ),
        )

    return check


def _is_valid_request(exchange: Exchange) -> bool:
    """Whether the vendor accepted the request; a refused request may be invalid."""
    reply = exchange.reply
    return exchange.faulty or reply is None or reply.status not in {400, 401, 404, 405, 422}


@cache
def _openapi(path: Path) -> tuple[OpenAPI, str]:
    """The document, and the API's address in it."""
    text = path.read_text(encoding="utf-8")
    document: Mapping[str, Any] = (
        json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    )
    config = Config(extra_media_type_deserializers={"application/problem+json": json.loads})
    return OpenAPI.from_dict(document, config=config), document["servers"][0]["url"]


def _request(exchange: Exchange, *, host: str, slash: bool) -> MockRequest:
    request = exchange.request
    parts = urlsplit(request.target)
    return MockRequest(
        host_url=host,
        method=request.method.lower(),
        path=parts.path.rstrip("/") if slash else parts.path,
        args=parse_qs(parts.query),
        headers=dict(request.headers),
        data=request.raw,
        content_type="application/json",
    )


def _must_fit(validators: Callable[[str], Draft202012Validator], name: str, value: object) -> None:
    errors = sorted(validators(name).iter_errors(value), key=lambda e: list(e.absolute_path))
    if errors:
        where = "/".join(str(p) for p in errors[0].absolute_path)
        raise Invalid(f"{name} at /{where}: {errors[0].message[:300]}")


@cache
def _own_document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return document


@cache
def _validator(document: str, name: str) -> Draft202012Validator:
    """The validator of one definition in one of our documents."""
    schema = {"$ref": f"#/$defs/{name}", "$defs": _own_document(document)["$defs"]}
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
