"""Each call of the OpenAI API needs a token that may do it, and refuses in the shape of that API."""

from typing import Any

import pytest

from fleet.api.openai_application import openai_api
from fleet.models import Scope
from tests.support.api import ApiClient, a_client
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db
OPERATIONS = [
    (method.upper(), path, said)
    for path, methods in openai_api.get_openapi_schema(path_prefix="/openai/")["paths"].items()
    for method, said in methods.items()
]


def ask(client: ApiClient, method: str, path: str) -> Any:
    address = path.replace("{name}", "emb").replace("{file_id}", "x").replace("{batch_id}", "x")
    headers = {"HTTP_AUTHORIZATION": f"Bearer {client.secret}"}
    return client._client.generic(method, address, b"{}", "application/json", **headers)


def is_an_error(answer: Any, status: int) -> bool:
    error = answer.json()["error"]
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/json")
    assert set(error) == {"message", "type", "param", "code"}
    return bool(error["message"])


def test_every_call_needs_a_token_that_may_do_it(redis_url: str, settings: Any) -> None:
    settings.API_FAILURES_PER_MINUTE = 10**6
    a_fleet(name="emb")
    nobody, viewer, operator = ApiClient("no"), a_client("viewer"), a_client("operator")
    assert len(OPERATIONS) == 9
    for method, path, said in OPERATIONS:
        assert is_an_error(ask(nobody, method, path), 401), path
        may = said["x-scope"] == Scope.READ
        assert may is (method == "GET")
        if may:
            assert ask(viewer, method, path).status_code in {200, 404}, path
        else:
            assert is_an_error(ask(viewer, method, path), 403), path
            assert is_an_error(ask(operator, method, path), 404 if "_id" in path else 400), path


def test_what_is_not_there_and_what_is_not_taken_are_errors_of_that_shape(redis_url: str) -> None:
    client = a_client("operator")
    assert is_an_error(ask(client, "GET", "/openai/emb/v1/models"), 404)
    assert is_an_error(ask(client, "GET", "/openai/none/v1/files"), 404)
    assert is_an_error(ask(client, "PUT", "/openai/emb/v1/files"), 405)
    a_fleet(name="emb")
    assert is_an_error(ask(client, "GET", "/openai/emb/v1/files?limit=0"), 400)
    assert is_an_error(ask(client, "GET", "/openai/emb/v1/files?nonsense=1"), 400)
