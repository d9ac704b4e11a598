"""Vast.ai's requests, and which of its answers can be used."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Protocol

from pods.providers.errors import ProviderError, Refused, Unavailable
from pods.providers.http import Answer, Timeouts
from pods.providers.vastai.mapping import Row, instance_id, number
from pods.providers.vastai.refusals import Route, error_of, read

# Vast.ai's client waits 120 s, because creates and logs can be slow (SDK 1.9.1). We wait less than a
# task may take, so that the worker can still record what it knows.
SLOW: Final = Timeouts(read=60.0, total=70.0)
PAGE: Final = 25  # show_instances.yaml, 2026-08-07
# How often a list is read that changed while it was read.
READINGS: Final = 3
# 10,000 instances. A list with more pages has a token that does not advance.
MOST_PAGES: Final = 400


class Caller(Protocol):
    """Sends a request. VendorHttp in production."""

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        repeatable: bool | None = None,
        hide: Collection[str] = (),
        endpoint: str = "",
        timeouts: Timeouts | None = None,
    ) -> Answer:
        """The JSON answer. A 4xx is an answer too."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    rows: Mapping[str, Row]  # by id
    total: int  # of all pages, as Vast.ai counted when it answered this one


class Api:
    """The calls of vastai.md §1. Each raises ProviderError for an answer that it cannot use."""

    def __init__(self, http: Caller) -> None:
        self._http = http

    def search(self, body: Mapping[str, Any]) -> list[Row]:
        """One page of offers."""
        answer = self._http.call(
            "POST", "/api/v0/bundles/", json=body, repeatable=True, endpoint="search"
        )
        offers = _granted(answer, Route.SEARCH).get("offers")
        if not isinstance(offers, list):
            raise Unavailable("Vast.ai answered a search without offers")
        return [row for row in offers if isinstance(row, Mapping)]

    def accept(self, ask: str, body: Mapping[str, Any], *, hide: Collection[str]) -> str:
        """Rent an offer. Returns the id of the new instance.

        Raises:
            Refused: with `billing_id` where the answer has an error and an instance.
        """
        path = f"/api/v0/asks/{ask}/"
        answer = self._http.call("PUT", path, json=body, repeatable=False, hide=hide, timeouts=SLOW)
        said = read(answer.status, answer.body)
        made = instance_id(_field(answer.body, "new_contract"))
        if _is_success(answer):
            if made is None:
                raise Unavailable("Vast.ai says that it rented, but not what")
            return made
        if made is not None:
            raise Refused(str(said), billing_id=made)
        if answer.ok and _field(answer.body, "success") is not False:
            raise Unavailable("Vast.ai says neither that it rented nor that it did not")
        if answer.ok:
            # `success: false` without a contract is a refusal, although the status is 200.
            said = replace(said, status=400)
        raise error_of(said, Route.ASK)

    def instances(self) -> list[Row]:
        """All instances of the account.

        Raises:
            Unavailable: some could not be read. A part of the list is never returned.
        """
        for _ in range(READINGS):
            rows: dict[str, Row] = {}
            total = 0
            for page in self._pages():
                rows.update(page.rows)
                total = page.total
            if len(rows) == total:
                return list(rows.values())
        raise Unavailable(f"Vast.ai listed {len(rows)} instances and says that there are {total}")

    def _pages(self) -> Iterator[_Page]:
        params: dict[str, str | int] = {
            "limit": PAGE,
            "order_by": json.dumps([{"col": "id", "dir": "asc"}]),
            # All columns: Vast.ai answers null for a name that it does not know, which would look like
            # a machine that is being provisioned.
            "select_cols": '["*"]',
        }
        for _ in range(MOST_PAGES):
            answer = self._http.call("GET", "/api/v1/instances/", params=params, endpoint="list")
            body = _granted(answer, Route.LIST)
            yield _page_of(body)
            token = body.get("next_token")
            if not token:
                return
            if not isinstance(token, str) or token == params.get("after_token"):
                raise Unavailable("Vast.ai's list has a next page that cannot be asked for")
            params["after_token"] = token
        raise Unavailable(f"Vast.ai's list does not end after {MOST_PAGES} pages")

    def instance(self, external_id: str) -> Row | None:
        """One instance. None where Vast.ai shows none for the id (it is gone, or too new)."""
        answer = self._http.call("GET", f"/api/v0/instances/{external_id}/", endpoint="status")
        body = _granted(answer, Route.INSTANCE)
        if "instances" not in body:
            raise Unavailable("Vast.ai answered neither an instance nor that there is none")
        found = body["instances"]
        # null; `{}` and a list have been seen too (vastai.md §4).
        if found in (None, {}, []):
            return None
        rows = found if isinstance(found, list) else [found]
        for row in rows:
            if isinstance(row, Mapping) and instance_id(row.get("id")) == external_id:
                return row
        raise Unavailable(
            "Vast.ai answered with something other than the instance that was asked for"
        )

    def stop(self, external_id: str) -> None:
        """Ask for `stopped`."""
        _granted(self._set_state(external_id, "stopped"), Route.INSTANCE)

    def start(self, external_id: str) -> ProviderError | None:
        """Ask for `running`. Returns the error of an answer with `success: false`.

        In that case Vast.ai may have queued the request, and may start the instance hours later.
        """
        answer = self._set_state(external_id, "running")
        if answer.ok and _field(answer.body, "success") is False:
            return error_of(read(answer.status, answer.body), Route.INSTANCE)
        _granted(answer, Route.INSTANCE)
        return None

    def _set_state(self, external_id: str, state: str) -> Answer:
        path = f"/api/v0/instances/{external_id}/"
        body = {"state": state}
        return self._http.call("PUT", path, json=body, repeatable=True, endpoint="manage")

    def destroy(self, external_id: str) -> None:
        """Ask for the end of an instance. NotFound where Vast.ai says that it is gone."""
        path = f"/api/v0/instances/{external_id}/"
        answer = self._http.call("DELETE", path, json={}, endpoint="destroy")
        _granted(answer, Route.INSTANCE)

    def request_logs(self, external_id: str, *, tail: int) -> str:
        """The URL at which the last lines will be after a while."""
        path = f"/api/v0/instances/request_logs/{external_id}/"
        body = {"tail": str(tail)}
        answer = self._http.call("PUT", path, json=body, repeatable=True, endpoint="logs")
        url = _granted(answer, Route.LOGS).get("result_url")
        if not isinstance(url, str):
            raise error_of(read(200, answer.body), Route.LOGS)
        return url

    def money(self) -> Decimal | None:
        """USD that are left to rent with. None where Vast.ai does not say."""
        answer = self._http.call("GET", "/api/v0/users/current/", endpoint="user")
        body = _granted(answer, Route.USER)
        # Prepaid credit counts. `balance` can be 0 or less although there is credit (vastai.md §9).
        credit = number(body.get("credit"))
        return credit if credit is not None else number(body.get("balance"))


def _granted(answer: Answer, route: Route) -> Mapping[str, Any]:
    """The body of a success. Anything else is raised. `success: false` can come with 200."""
    if not _is_success(answer):
        raise error_of(read(answer.status, answer.body), route)
    body: Mapping[str, Any] = answer.body
    return body


def _is_success(answer: Answer) -> bool:
    return (
        answer.ok and isinstance(answer.body, Mapping) and answer.body.get("success") is not False
    )


def _field(body: Any, name: str) -> Any:
    return body.get(name) if isinstance(body, Mapping) else None


def _page_of(body: Mapping[str, Any]) -> _Page:
    rows, total = body.get("instances"), body.get("total_instances")
    if not isinstance(rows, list) or isinstance(total, bool) or not isinstance(total, int):
        raise Unavailable("Vast.ai answered a list without its instances or their number")
    found: dict[str, Row] = {}
    for row in rows:
        external_id = instance_id(row.get("id")) if isinstance(row, Mapping) else None
        if external_id is None:
            raise Unavailable("Vast.ai listed something that has no id")
        found[external_id] = row
    return _Page(rows=found, total=total)
