"""Every refusal is a problem, no answer has a secret, and a role that may not gets 403."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

from fleet.api import documents
from fleet.api.application import api
from fleet.models import ApiToken, Channel, Fleet, Scope
from pods.base import sealing
from pods.models import Account
from tests.support.admin_pages import a_user
from tests.support.api import ROOT, ApiClient, a_client
from tests.support.api_rows import PLACES, rows_for_every_operation

pytestmark = pytest.mark.django_db
FILE = Path(__file__).parents[4] / "docs" / "reference" / "openapi.json"
SECRET = "hunter2-hunter2"
LEAST = {Scope.READ: "viewer", Scope.OPERATE: "operator", Scope.ADMIN: "admin"}
DESCRIBED = json.loads(documents.written(api.get_openapi_schema(path_prefix=f"{ROOT}/")))
OPERATIONS = [
    (method.upper(), path, said)
    for path, methods in DESCRIBED["paths"].items()
    for method, said in methods.items()
]


def address(path: str) -> str:
    for name, place in PLACES.items():
        path = path.replace(f"{{{name}}}", str(place(path)))
    return path


def is_a_problem(answer: Any, status: int) -> bool:
    body = answer.json()
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert (body["status"], body["title"] != "", body["detail"] != "") == (status, True, True)
    return True


def test_the_description_in_the_repository_is_the_present_one() -> None:
    """`make openapi` writes it."""
    assert json.loads(FILE.read_text()) == DESCRIBED
    assert Client().get(f"{ROOT}/openapi.json").json() == DESCRIBED
    assert DESCRIBED["openapi"] == "3.1.0"
    assert len(OPERATIONS) > 40


def test_a_role_that_may_not_gets_403_on_every_operation_and_who_may_does_not(
    redis_url: str, settings: Any
) -> None:
    settings.API_REQUESTS_PER_MINUTE = settings.API_FAILURES_PER_MINUTE = 10**6
    rows_for_every_operation(redis_url)
    scopes = list(Scope)
    clients = {scope: a_client(role) for scope, role in LEAST.items()}
    narrow = {
        scope: a_client("admin", name=f"admin-{scope.value}", scope=scope) for scope in scopes
    }
    for method, path, said in OPERATIONS:
        needed = scopes.index(Scope(said["x-scope"]))
        for scope in scopes:
            for client in (clients[scope], narrow[scope]):
                answer = client.send(method, address(path), {"no": "such field"})
                if scopes.index(scope) < needed:
                    assert is_a_problem(answer, 403), (method, path, scope)
                else:
                    assert answer.status_code not in {401, 403, 500}, (method, path, scope)


def test_no_operation_answers_without_a_token(redis_url: str, settings: Any) -> None:
    settings.API_FAILURES_PER_MINUTE = 10**6
    for method, path, _ in OPERATIONS:
        assert is_a_problem(ApiClient("").send(method, address(path), {}), 401), path


def test_every_refusal_is_a_problem(redis_url: str) -> None:
    client = a_client()
    assert is_a_problem(client.get("/api/nothing"), 404)
    assert is_a_problem(client.get("/nothing"), 404)
    assert is_a_problem(client.get("/fleets/nothing"), 404)
    assert is_a_problem(client.get("/fleets/a%00b"), 404)
    wrong = client.send("PUT", "/fleets", {})
    assert is_a_problem(wrong, 405)
    assert wrong["Allow"]
    assert is_a_problem(client.send("POST", "/fleets", b"{no"), 400)
    assert is_a_problem(client.get("/fleets?archivd=true"), 422)
    chunked = client.get("/fleets", transfer_encoding="chunked")
    assert is_a_problem(chunked, 411)


def test_a_fault_of_ours_is_a_problem_without_a_trace(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = a_client()

    def broken(*_args: object) -> Any:
        raise RuntimeError(f"redis://ann:{SECRET}@host")

    monkeypatch.setattr("fleet.api.fleets.overview", broken)
    for debug in (False, True):
        with override_settings(DEBUG=debug):
            answer = client.get("/fleets")
            assert is_a_problem(answer, 500)
            assert b"Trace" not in answer.content
            assert SECRET.encode() not in answer.content


def test_no_answer_has_a_secret(redis_url: str, settings: Any) -> None:
    settings.API_REQUESTS_PER_MINUTE = 10**6
    rows_for_every_operation(redis_url)
    sealed = sealing.seal(SECRET)
    Account.objects.update(
        sealed_secret=sealed, options={"api_key": SECRET, "url": f"https://ann:{SECRET}@host"},
        last_error=f"https://ann:{SECRET}@host refuses",
    )  # fmt: skip
    Channel.objects.create(name="pager", sealed_url=sealing.seal(f"jsons://{SECRET}@host"))
    Fleet.objects.update(handler_env={"KEY": SECRET})
    Fleet.objects.exclude(name="emb").delete()
    client = a_client("admin")
    digest = ApiToken.objects.get().digest
    bodies = b""
    for method, path, said in OPERATIONS:
        if method == "DELETE" or path.endswith(("/archive", "/stop")):
            continue
        body = {} if "requestBody" in said else None
        bodies += client.send(method, address(path), body).content
    for secret in (SECRET, sealed, digest, client.secret, settings.SECRET_KEY):
        assert secret.encode() not in bodies


def test_money_is_text_and_times_have_a_zone(redis_url: str) -> None:
    rows_for_every_operation(redis_url)
    client = a_client()
    pod = client.get("/pods?billing=true").json()["items"][0]
    assert (pod["hourly_usd"], pod["requested_at"][-1]) == ("0.5", "Z")
    assert isinstance(client.get("/money").json()["total_usd"], str)


def test_the_page_of_the_description_is_for_who_is_logged_in_and_loads_nothing_from_elsewhere() -> (
    None
):
    assert Client().get(f"{ROOT}/docs").status_code == 302
    page = a_user("viewer").get(f"{ROOT}/docs")
    text = page.content.decode()
    assert (page.status_code, "http://" in text, "https://" in text) == (200, False, False)
    assert '"validatorUrl": null' in text
    assert "script-src" in page["Content-Security-Policy"]
