"""Calls every operation of the API with what its description allows, and with what it forbids."""

import json
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
)

from config.wsgi import application
from fleet.api import documents
from fleet.api.application import PREFIX, api
from tests.support.api_rows import PLACES


@schemathesis.serializer("application/x-ndjson")
def lines(_context: Any, value: Any) -> bytes:
    """A body of lines as it is sent."""
    return value.encode() if isinstance(value, str) else bytes(str(value), "utf-8")


def operations() -> list[Any]:
    """The operations of the description, without the token, which every request here sends."""
    described = json.loads(documents.written(api.get_openapi_schema(path_prefix=PREFIX)))
    for methods in described["paths"].values():
        for said in methods.values():
            del said["security"]
    schema = schemathesis.openapi.from_dict(described)
    schema.app = application
    found: list[Any] = list(schema.get_all_operations())
    return [result.ok() for result in found]


def wrong_answers(secret: str, *, examples: int, mode: GenerationMode) -> dict[str, str]:
    """What is not as described, by operation."""
    found: dict[str, str] = {}
    for operation in operations():
        if mode is GenerationMode.NEGATIVE and not _has_rules(operation):
            continue

        @settings(
            max_examples=examples, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            _lead_somewhere(case, mode)
            answer = case.call(headers={"Authorization": f"Bearer {secret}"})
            case.validate_response(answer, excluded_checks=_not_told(case))

        try:
            check()
        except (Exception, BaseExceptionGroup) as exc:  # noqa: BLE001 - the answer of the test
            found[operation.label] = _said(exc)
    return found


def _said(exc: BaseException) -> str:
    """What an error says, with those that a group holds."""
    if isinstance(exc, BaseExceptionGroup):
        return "\n".join(map(_said, exc.exceptions))
    return f"{type(exc).__name__}: {exc}"


def _lead_somewhere(case: Any, mode: GenerationMode) -> None:
    """Name rows that are there, and the first page: no description says which words are cursors."""
    for name, place in PLACES.items():
        generated = mode is GenerationMode.NEGATIVE and name != "name"
        if name in (case.path_parameters or {}) and not generated:
            case.path_parameters[name] = place(case.path)
    query = case.query or {}
    # What an address cannot hold is not sent, so nothing of it is wrong.
    assume(mode is GenerationMode.POSITIVE or all(v not in (None, [], {}) for v in query.values()))
    for word in ("cursor", "gpu"):
        query.pop(word, None) if isinstance(query.get(word), str) else None
    if isinstance(query.get("fleet"), str):
        query["fleet"] = "emb"


def _not_told(case: Any) -> list[Any]:
    """The checks that do not hold: our tests ask without a token, a verb has rules of its own,
    and every body of lines is a text.
    """
    rules = [] if case.method == "GET" else [positive_data_acceptance]
    lines_of_text = [negative_data_rejection] if case.path.endswith("/bulk") else []
    return [ignored_auth, *rules, *lines_of_text]


def _has_rules(operation: Any) -> bool:
    """Whether a request can be wrong in more than the name that it leads to."""
    raw = operation.definition.raw
    names = {p["name"] for p in raw.get("parameters", [])}
    return "requestBody" in raw or bool(names - {"name", "item_id"})
