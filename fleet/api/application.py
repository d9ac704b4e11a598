"""The REST API: its operations, its errors, and its description as OpenAPI 3.1."""

import json
from typing import Any, Final

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from ninja import NinjaAPI
from ninja.errors import HttpError
from ninja.errors import ValidationError as NotAsDescribed
from ninja.openapi.docs import Swagger
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser

from fleet.api import (
    accounts,
    alerts,
    channels,
    code,
    datasets,
    decisions,
    documents,
    fleets,
    foresight,
    holds,
    items,
    limits,
    machines,
    market,
    money,
    pods,
    results,
    shadows,
    whereabouts,
)
from fleet.api.auth import Token
from fleet.api.problems import handled

PREFIX: Final = "/api/v1/"


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


class StrictParser(Parser):
    """Takes JSON that the databases can keep."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The value of the body.

        Raises:
            ValueError: it is not JSON, or has a text that is none.
        """
        try:
            value = json.loads(request.body.decode(), parse_constant=_refuse)
        except RecursionError as exc:
            raise ValueError("nested too deep") from exc
        written = json.dumps(value, ensure_ascii=False)
        if "\\u0000" in written:
            raise ValueError("a text holds the character NUL")
        try:
            written.encode()
        except UnicodeEncodeError as exc:
            raise ValueError("a text has half a surrogate pair") from exc
        return value


class Application(NinjaAPI):
    """The API with our names of operations and our description."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """The name of the function, which is unique."""
        return operation.view_func.__name__

    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        """The description, with the answers that every operation can give."""
        found = super().get_openapi_schema(**kwargs)
        documents.complete(found)
        return found

    def set_default_exception_handlers(self) -> None:
        """Answer every error with a problem."""
        for kind in (Exception, HttpError, NotAsDescribed):
            self.add_exception_handler(kind, handled)  # type: ignore[arg-type]


def make() -> Application:
    """The API with all of its operations."""
    api = Application(
        title="Podfleet", version="1", description=documents.ABOUT, urls_namespace="api",
        parser=StrictParser(), docs_url=None,
    )  # fmt: skip
    for module in (
        fleets, code, foresight, shadows, items, whereabouts, results, datasets, holds, pods,
        decisions, alerts, limits, money, market, machines, accounts, channels,
    ):  # fmt: skip
        api.add_router("", module.router)
    tell_words(api)
    return api


def tell_words(api: NinjaAPI) -> None:
    """Tell the check of each operation's token which words the address may have after the ?."""
    for bound in api._get_bound_routers():
        for view in bound.path_operations.values():
            for operation in view.operations:
                _tell_words(operation)


def _tell_words(operation: Operation) -> None:
    words = frozenset(
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in model.__ninja_flatten_map__
    )
    for auth in operation.auth_callbacks:
        if isinstance(auth, Token):
            auth.words = words


api: Final = make()
# Without `validatorUrl` a service elsewhere would be asked whether the description is right.
DOCS: Final = Swagger({"validatorUrl": None, "persistAuthorization": False})


@require_GET
@staff_member_required
def docs(request: HttpRequest) -> HttpResponse:
    """The description as a page, for who is logged in. Everything that it loads is on this server."""
    return DOCS.render_page(request, api)
