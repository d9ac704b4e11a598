"""The calls of RunPod's API: each condition in the case in which it alone decides."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
import stamina

from pods.providers.base import OfferQuery, Phase, PodSpec, Provider, RegistryLogin
from pods.providers.errors import (
    AuthFailed,
    LoginRefused,
    NoCapacity,
    ProviderError,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from pods.providers.runpod import connect
from pods.providers.runpod.registries import may_be_refused, refusal_in
from tests.support.from_memory import answer_from_memory, answered

KEY = "rpa_KEY"
LOGIN = RegistryLogin(
    host="ghcr.io", user="ann", password="to-read-images", owner="a1-7", digest="d1"
)

Plan = dict[str, list[tuple[int, Any]]]
Vendor = Callable[..., tuple[Provider, list[httpx.Request]]]


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    """An account with these options, and its requests. The plan says what they are answered."""

    def make(plan: Plan, **options: Any) -> tuple[Provider, list[httpx.Request]]:
        asked = answer_from_memory(monkeypatch, answered(plan))
        return connect(options=options, secret=KEY), asked

    with stamina.set_testing(True, attempts=1):
        yield make


def problem(detail: str) -> dict[str, Any]:
    return {"title": "A problem", "detail": detail}


def methods(asked: list[httpx.Request]) -> list[str]:
    return [request.method for request in asked]


CATALOG = "GET /v2/catalog/gpus"


def test_the_catalog_is_asked_for_what_an_account_and_a_fleet_want(vendor: Vendor) -> None:
    plan = {CATALOG: [(200, {"gpus": []})]}
    runpod, asked = vendor(plan, clouds=["SECURE"], min_cuda_version="12.4")
    assert runpod.offers(OfferQuery(gpu_count=0)) == ()
    assert runpod.offers(OfferQuery(interruptible=True)) == ()
    assert asked == []
    assert not runpod.offers(OfferQuery(gpu_count=1))
    assert (asked[0].url.params["cloud"], asked[0].url.params["minCudaVersion"]) == (
        "SECURE",
        "12.4",
    )
    runpod, asked = vendor(plan, clouds=["SECURE"])
    runpod.offers(OfferQuery())
    assert "minCudaVersion" not in asked[0].url.params


def test_a_balance_is_only_what_runpod_calls_one(vendor: Vendor) -> None:
    good = {"data": {"myself": {"clientBalance": 41}}}
    answers: list[tuple[int, Any]] = [
        (200, good),
        (200, {**good, "errors": ["no"]}),
        (400, good),
        (200, [good]),
        (200, {"data": None}),
        (200, {"data": {"myself": None}}),
        (200, {"data": {"myself": {"clientBalance": "41"}}}),
    ]
    runpod, _ = vendor({"POST /graphql": answers})
    assert [runpod.balance() for _ in answers] == [Decimal(41), *[None] * 6]


ACTION = "POST /v2/pods/x/action"
THE_POD = "GET /v2/pods/x"
LOCKED = {"id": "x", "status": "RUNNING", "locked": True}


def test_a_pod_that_cannot_be_stopped_although_it_is_unlocked_is_refused(vendor: Vendor) -> None:
    refused = [(409, problem("locked")), (409, problem("it is being moved"))]
    plan = {ACTION: refused, THE_POD: [(200, LOCKED)], "PATCH /v2/pods/x": [(200, {})]}
    runpod, asked = vendor(plan)
    with pytest.raises(Refused, match="it is being moved"):
        runpod.stop("x")
    assert methods(asked) == ["POST", "GET", "GET", "PATCH", "POST"]
    plan[ACTION] = [refused[0], (200, {})]
    vendor(plan)[0].stop("x")


def test_a_pod_that_is_not_locked_is_not_asked_twice(vendor: Vendor) -> None:
    plan = {ACTION: [(409, problem("no"))], THE_POD: [(200, {**LOCKED, "locked": False})]}
    runpod, asked = vendor(plan)
    with pytest.raises(Refused):
        runpod.stop("x")
    assert methods(asked) == ["POST", "GET", "GET"]


@pytest.mark.parametrize(
    ("status", "detail", "error"),
    [
        (400, "not enough free GPUs", NoCapacity),
        (401, "no", AuthFailed),
        (402, "no", QuotaExceeded),
    ],
)
def test_a_start_that_no_look_can_explain_looks_at_nothing(
    vendor: Vendor, status: int, detail: str, error: type[ProviderError]
) -> None:
    runpod, asked = vendor({ACTION: [(status, problem(detail))]})
    with pytest.raises(error):
        runpod.start("x")
    assert len(asked) == 1


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_locked_pod_is_unlocked_and_destroyed(vendor: Vendor, status: int) -> None:
    plan = {
        "DELETE /v2/pods/x": [(status, problem("locked")), (204, None)],
        THE_POD: [(200, LOCKED)],
        "PATCH /v2/pods/x": [(200, {})],
    }
    runpod, asked = vendor(plan)
    runpod.destroy("x")
    assert methods(asked) == ["DELETE", "GET", "PATCH", "DELETE"]


def test_a_destroy_that_is_refused_is_not_a_success(vendor: Vendor) -> None:
    refused: Plan = {"DELETE /v2/pods/x": [(401, problem("no"))]}
    runpod, asked = vendor(refused)
    with pytest.raises(AuthFailed):
        runpod.destroy("x")
    assert methods(asked) == ["DELETE"]
    conflict = {"DELETE /v2/pods/x": [(409, problem("no"))]}
    runpod, asked = vendor({**conflict, THE_POD: [(200, {**LOCKED, "locked": False})]})
    with pytest.raises(Refused):
        runpod.destroy("x")
    assert methods(asked) == ["DELETE", "GET"]
    vendor({"DELETE /v2/pods/x": [(404, problem("pod not found"))]})[0].destroy("x")


LOGS = "GET /v2/pods/x/logs"


def test_a_log_has_as_many_lines_as_were_asked_for(vendor: Vendor) -> None:
    stream = b'data: {"line": "one"}\n\ndata: {"line": "two"}\n\ndata: {"line": "rpa_KEY"}\n\n'
    runpod, asked = vendor({LOGS: [(200, stream)]})
    assert runpod.logs("x", tail=2) == "two\n***"
    assert runpod.logs("x", tail=0) == ""
    assert [request.url.params["tail"] for request in asked] == ["2", "0"]
    assert {request.url.params["source"] for request in asked} == {"container"}


def test_the_log_of_a_pod_without_a_container_is_that_of_its_host(vendor: Vendor) -> None:
    runpod, asked = vendor({LOGS: [(200, b""), (200, b'data: {"line": "pulls"}'), (200, b"")]})
    assert runpod.logs("x") == "pulls"
    assert [request.url.params["source"] for request in asked] == ["container", "system"]
    assert runpod.logs("x") == ""


PODS = "GET /v2/pods"


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ({}, "no list of pods"),
        ([], "no list of pods"),
        ({"pods": None}, "no list of pods"),
        ({"pods": [], "pagination": {}}, "does not say whether the list goes on"),
        ({"pods": [], "pagination": 7}, "does not say whether the list goes on"),
        ({"pods": [], "pagination": {"hasNextPage": "no"}}, "does not say whether"),
        ({"pods": [], "pagination": {"hasNextPage": True}}, "and does not say where"),
        ({"pods": [], "pagination": {"hasNextPage": True, "nextCursor": ""}}, "not say where"),
        ({"pods": [], "pagination": {"hasNextPage": True, "nextCursor": 7}}, "not say where"),
        ({"pods": [], "pagination": {"hasNextPage": True, "nextCursor": "c"}}, "does not move"),
    ],
)
def test_a_list_whose_next_page_is_unknown_is_not_read_as_whole(
    vendor: Vendor, page: object, says: str
) -> None:
    with pytest.raises(Unavailable, match=says):
        vendor({PODS: [(200, page)]})[0].list_tagged("pf-7")


def test_a_list_of_one_page_is_read_once_and_one_of_more_pages_twice(vendor: Vendor) -> None:
    pod = {"id": "x", "name": "pf-7-aa11", "status": "RUNNING"}
    for last in ({"pods": [pod]}, {"pods": [pod], "pagination": {"hasNextPage": False}}):
        runpod, asked = vendor({PODS: [(200, last)]})
        assert [machine.token for machine in runpod.list_tagged("pf-7")] == ["aa11"]
        assert len(asked) == 1
        assert runpod.list_tagged("pf-8") == []
    first = {"pods": [], "pagination": {"hasNextPage": True, "nextCursor": "c"}}
    late = {"pods": [{**pod, "id": "y", "name": "pf-7-bb22"}]}
    runpod, asked = vendor({PODS: [(200, p) for p in (first, {"pods": [pod]}, first, late)]})
    assert [machine.token for machine in runpod.list_tagged("pf-7")] == ["aa11", "bb22"]
    assert [request.url.params.get("cursor") for request in asked] == [None, "c", None, "c"]


SPEC = PodSpec(
    name="pf-7-aa11", tag="pf-7", offer_key="SECURE:NVIDIA L4:1:EU-RO-1", image="you/worker"
)
CREATE = "POST /v2/pods"


@pytest.mark.parametrize(
    ("status", "detail", "error"),
    [
        (400, "unauthorized: authentication required", LoginRefused),
        (400, "mounts are mutually exclusive", Refused),
        (403, "access denied", NoCapacity),
    ],
)
def test_a_create_that_the_images_registry_refuses_is_told_from_other_refusals(
    vendor: Vendor, status: int, detail: str, error: type[ProviderError]
) -> None:
    runpod, _ = vendor({CREATE: [(status, problem(detail))]})
    with pytest.raises(error) as caught:
        runpod.create(SPEC, token="aa11")
    assert type(caught.value) is error


def test_a_pod_without_a_registry_login_stores_none(vendor: Vendor) -> None:
    made = {"id": "x", "name": "pf-7-aa11", "status": "PROVISIONING"}
    runpod, asked = vendor({CREATE: [(201, made)]})
    assert runpod.create(SPEC, token="aa11").external_id == "x"
    assert [request.url.path for request in asked] == ["/v2/pods"]


OLD = "2026-01-01T00:00:00Z"
BOOTS = {"id": "x", "name": "pf-7-aa11", "status": "RUNNING", "runtime": None, "createdAt": OLD}
REFUSED = b'data: {"line": "unauthorized: authentication required"}'


def test_only_the_lines_of_a_boot_that_lasts_are_looked_at(vendor: Vendor) -> None:
    runpod, asked = vendor({THE_POD: [(200, BOOTS)], LOGS: [(200, REFUSED)]})
    seen = runpod.status("x")
    assert (seen.phase, seen.login_refused) == (Phase.FAILED, True)
    assert seen.because == "unauthorized: authentication required"
    assert len(asked) == 2
    for pod in ({**BOOTS, "runtime": {}}, {**BOOTS, "createdAt": None}):
        runpod, asked = vendor({THE_POD: [(200, pod)]})
        assert not runpod.status("x").login_refused
        assert len(asked) == 1


@pytest.mark.parametrize("lines", [(200, b'data: {"line": "pulls"}'), (404, problem("no"))])
def test_a_boot_whose_lines_say_nothing_goes_on(vendor: Vendor, lines: tuple[int, Any]) -> None:
    runpod, _ = vendor({THE_POD: [(200, BOOTS)], LOGS: [lines]})
    seen = runpod.status("x")
    assert (seen.phase, seen.login_refused) == (Phase.BOOTING, False)


@pytest.mark.parametrize("pod", [None, [], {}, {"id": "y"}])
def test_a_status_is_that_of_the_pod_that_was_asked_for(vendor: Vendor, pod: object) -> None:
    with pytest.raises(Unavailable, match="is not a pod, or is another one"):
        vendor({THE_POD: [(200, pod)]})[0].status("x")


def test_a_pod_that_cannot_have_been_refused_yet() -> None:
    assert may_be_refused(BOOTS)
    assert not may_be_refused({**BOOTS, "createdAt": None})
    assert not may_be_refused({**BOOTS, "status": "EXITED"})


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["pulls", "Unauthorized: no", " "], "Unauthorized: no"),
        (["unauthorized: no", "pulls again"], ""),
        ([], ""),
    ],
)
def test_the_newest_line_says_whether_a_login_was_refused(lines: list[str], says: str) -> None:
    assert refusal_in(lines) == says


LIST = "GET /v2/registries"
STORE = "POST /v2/registries"
OWN = {"id": "r1", "name": "podfleet-a1-7-d1"}


def with_login(runpod: Provider) -> None:
    runpod.create(replace(SPEC, registry_login=LOGIN), token="aa11")


@pytest.mark.parametrize(
    ("rows", "store"),
    [
        (None, []),
        ([], []),
        ({"registries": None}, []),
        ({"registries": []}, []),
        ({"registries": []}, {"id": ""}),
        ({"registries": []}, {"id": 7}),
        ({"registries": []}, {}),
    ],
)
def test_no_pod_is_rented_while_its_login_is_not_stored(
    vendor: Vendor, rows: object, store: object
) -> None:
    runpod, asked = vendor({LIST: [(200, rows)], STORE: [(201, store)]})
    with pytest.raises(Unavailable, match=r"no list of registries|names no id"):
        with_login(runpod)
    assert "/v2/pods" not in {request.url.path for request in asked}


def test_a_login_is_stored_once_and_those_that_were_changed_are_deleted(vendor: Vendor) -> None:
    old = [{"id": f"o{n}", "name": f"podfleet-a1-7-old{n}"} for n in range(4)]
    others = [{"id": "o9", "name": "podfleet-a1-70-d1"}, {"id": "mine", "name": "mine"}]
    odd = ["x", {"id": "o8"}, {"id": 7, "name": OWN["name"]}, {"id": "o7", "name": None}]
    made = {"id": "x", "name": "pf-7-aa11", "status": "PROVISIONING"}
    deleted: Plan = {f"DELETE /v2/registries/o{n}": [(204, None)] for n in range(3)}
    plan: Plan = {CREATE: [(201, made)], STORE: [(201, OWN)], **deleted}
    plan[LIST] = [(200, {"registries": [*odd, *others, *old]})]
    runpod, asked = vendor(plan)
    with_login(runpod)
    assert methods(asked) == ["GET", "POST", "DELETE", "DELETE", "DELETE", "POST"]
    assert json.loads(asked[-1].content)["registry"] == "r1"
    plan[LIST] = [(200, {"registries": [{**OWN, "id": "r2"}, OWN]})]
    runpod, asked = vendor(plan)
    with_login(runpod)
    assert methods(asked) == ["GET", "POST"]
    assert json.loads(asked[-1].content)["registry"] == "r1"


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [(403, AuthFailed, "may not read or store registry credentials"), (409, Refused, "409 no$")],
)
def test_a_refusal_about_logins_says_what_the_key_lacks(
    vendor: Vendor, status: int, error: type[ProviderError], says: str
) -> None:
    with pytest.raises(error, match=says):
        with_login(vendor({LIST: [(status, problem("no"))]})[0])
